// Marks functions that kernels of any device may call.
//
//   CSSP_DEVICE_FUNCTION float Value(float x) const { return x * x; }
//
// Nothing to a C++ compiler.  The build defines it for CUDA sources
// (common/cmake/CsspCuda.cmake), as "__host__ __device__".
#ifndef CSSP_COMMON_DEVICE_DEVICE_FUNCTION_H_
#define CSSP_COMMON_DEVICE_DEVICE_FUNCTION_H_

#ifndef CSSP_DEVICE_FUNCTION
#define CSSP_DEVICE_FUNCTION
#endif

#endif  // CSSP_COMMON_DEVICE_DEVICE_FUNCTION_H_
