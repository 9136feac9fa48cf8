# CSSP_CUDA: AUTO builds for GPUs where nvcc and cuDNN are found and no
# sanitizer is asked for; ON insists; OFF never.  Sets CSSP_WITH_CUDA.
#
# Where it is off, null files stand in for the cuda/ folders.
set(CSSP_CUDA AUTO CACHE STRING "Build for NVIDIA GPUs: AUTO, ON or OFF")
set_property(CACHE CSSP_CUDA PROPERTY STRINGS AUTO ON OFF)

set(CSSP_WITH_CUDA OFF)
if(NOT CSSP_CUDA STREQUAL "OFF" AND NOT (CSSP_CUDA STREQUAL "AUTO" AND CSSP_SANITIZE))
  find_program(CSSP_NVCC nvcc HINTS ${CMAKE_CUDA_COMPILER} ENV CUDA_PATH
               PATHS /usr/local/cuda PATH_SUFFIXES bin)
  if(CSSP_NVCC)
    get_filename_component(cuda_root ${CSSP_NVCC} REALPATH)
    get_filename_component(cuda_root ${cuda_root} DIRECTORY)
    get_filename_component(cuda_root ${cuda_root} DIRECTORY)
  endif()
  find_path(CUDNN_INCLUDE_DIR cudnn.h HINTS ${cuda_root}/include)
  find_library(CUDNN_LIBRARY cudnn HINTS ${cuda_root}/lib64 ${cuda_root}/lib)
  if(CSSP_NVCC AND CUDNN_INCLUDE_DIR AND CUDNN_LIBRARY)
    set(CSSP_WITH_CUDA ON)
  elseif(CSSP_CUDA STREQUAL "ON")
    message(FATAL_ERROR "CSSP_CUDA=ON needs nvcc and cuDNN: found "
            "'${CSSP_NVCC}' and '${CUDNN_LIBRARY}'; set CMAKE_CUDA_COMPILER, "
            "CUDNN_INCLUDE_DIR, CUDNN_LIBRARY")
  endif()
endif()
message(STATUS "CUDA: ${CSSP_WITH_CUDA} (CSSP_CUDA=${CSSP_CUDA})")

if(CSSP_WITH_CUDA)
  if(NOT CMAKE_CUDA_COMPILER)
    set(CMAKE_CUDA_COMPILER ${CSSP_NVCC})
  endif()
  if(NOT DEFINED CMAKE_CUDA_ARCHITECTURES)
    set(CMAKE_CUDA_ARCHITECTURES 90)  # Hopper
  endif()
  if(CCACHE)
    set(CMAKE_CUDA_COMPILER_LAUNCHER ${CCACHE})
  endif()
  enable_language(CUDA)
  if(NOT CMAKE_CUDA20_STANDARD_COMPILE_OPTION)  # CMake 3.25 does not know it
    set(CMAKE_CUDA20_STANDARD_COMPILE_OPTION -std=c++20)
    set(CMAKE_CUDA20_EXTENSION_COMPILE_OPTION -std=c++20)
  endif()
  set(CMAKE_CUDA_STANDARD 20)
  find_package(CUDAToolkit REQUIRED)
  add_library(CUDNN::cudnn INTERFACE IMPORTED)
  target_include_directories(CUDNN::cudnn INTERFACE ${CUDNN_INCLUDE_DIR})
  target_link_libraries(CUDNN::cudnn INTERFACE ${CUDNN_LIBRARY})
  # Device lambdas; constexpr functions of the host (std::min, Philox) in
  # kernels; and what device_function.h leaves empty for C++.
  set(CSSP_NVCC_FLAGS --extended-lambda --expt-relaxed-constexpr
      "-DCSSP_DEVICE_FUNCTION=__host__ __device__"
      -Xcompiler=-Wall,-Wno-unused-parameter,-Wno-sign-compare)
endif()
