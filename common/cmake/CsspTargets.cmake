# cssp_library(<part>_<folder> SRCS ... [PUBLIC libs] [PRIVATE libs])
# cssp_program(<name> SRCS ... LIBS ...)
# cssp_test(<name> SRCS ... LIBS ... [LABELS unit|conformance|sim|integration])
#
# PUBLIC names only what the library's headers show; the third party is PRIVATE.

set(CSSP_WARNINGS -Wall -Wextra -Wno-unused-parameter -Wno-missing-field-initializers
    -Wno-sign-compare)
if(CMAKE_CXX_COMPILER_ID STREQUAL "Clang")
  list(APPEND CSSP_WARNINGS -Wthread-safety)
endif()

set(CSSP_SANITIZE_FLAGS "")
if(CSSP_SANITIZE)
  set(CSSP_SANITIZE_FLAGS -fsanitize=${CSSP_SANITIZE} -fno-omit-frame-pointer
      -fno-sanitize-recover=undefined)
  add_link_options(-fsanitize=${CSSP_SANITIZE})
endif()

function(cssp_compile_options target)
  target_compile_options(${target} PRIVATE
    $<$<COMPILE_LANGUAGE:CXX>:${CSSP_WARNINGS}>
    $<$<COMPILE_LANGUAGE:CUDA>:${CSSP_NVCC_FLAGS}>
    ${CSSP_SANITIZE_FLAGS})
  target_include_directories(${target} PUBLIC ${PROJECT_SOURCE_DIR}
                             ${PROJECT_BINARY_DIR})
endfunction()

# Programs of a TSan build bring what makes absl::Mutex visible to it.
function(cssp_sanitize_program target)
  if(CSSP_SANITIZE STREQUAL "thread")
    target_sources(${target} PRIVATE
                   ${PROJECT_SOURCE_DIR}/common/base/absl_mutex_tsan.cc)
  endif()
endfunction()

function(cssp_library name)
  cmake_parse_arguments(A "" "" "SRCS;PUBLIC;PRIVATE" ${ARGN})
  add_library(cssp_${name} STATIC ${A_SRCS})
  add_library(cssp::${name} ALIAS cssp_${name})
  cssp_compile_options(cssp_${name})
  target_link_libraries(cssp_${name} PUBLIC ${A_PUBLIC} PRIVATE ${A_PRIVATE})
endfunction()

function(cssp_program name)
  cmake_parse_arguments(A "" "" "SRCS;LIBS" ${ARGN})
  add_executable(${name} ${A_SRCS})
  cssp_sanitize_program(${name})
  cssp_compile_options(${name})
  target_link_libraries(${name} PRIVATE ${A_LIBS})
endfunction()

function(cssp_test name)
  cmake_parse_arguments(A "" "TIMEOUT" "SRCS;LIBS;LABELS" ${ARGN})
  if(NOT A_LABELS)
    set(A_LABELS unit)
  endif()
  if(NOT A_TIMEOUT)
    set(A_TIMEOUT 300)
  endif()
  if(CSSP_SANITIZE)
    math(EXPR A_TIMEOUT "${A_TIMEOUT} * 4")
  endif()
  add_executable(${name} ${A_SRCS})
  cssp_sanitize_program(${name})
  cssp_compile_options(${name})
  target_link_libraries(${name} PRIVATE ${A_LIBS} GTest::gmock_main)
  set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY
                        ${PROJECT_BINARY_DIR}/tests/bin)
  add_test(NAME ${name} COMMAND ${name})
  # `tests_unit`, `tests_sim`, ...: what one label needs built.
  foreach(label ${A_LABELS})
    if(NOT TARGET tests_${label})
      add_custom_target(tests_${label})
    endif()
    add_dependencies(tests_${label} ${name})
  endforeach()
  # A test that is skipped as a whole says so by name (gtest prints SKIPPED).
  set_tests_properties(${name} PROPERTIES LABELS "${A_LABELS}"
                       TIMEOUT ${A_TIMEOUT}
                       SKIP_REGULAR_EXPRESSION "^$<1:SKIPPED-ALL>")
endfunction()
