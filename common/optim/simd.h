// How the update loops are compiled: once per instruction set, chosen when the
// program is loaded.  The clones differ in vector width only; with
// -ffp-contract=off each element sees the same operations in the same order.
#ifndef CSSP_COMMON_OPTIM_SIMD_H_
#define CSSP_COMMON_OPTIM_SIMD_H_

// Sanitized builds have one version: the resolver of a clone would run before
// the sanitizer is ready.
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) && \
    !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#define CSSP_SIMD_CLONES \
  __attribute__((target_clones("avx512f", "avx2", "default")))
#else
#define CSSP_SIMD_CLONES
#endif

// On a lambda that such a function hands to a loop.
#define CSSP_SIMD_BODY __attribute__((always_inline))

// Before a loop whose pointers are equal or disjoint: nothing is carried from
// one element to the next.
#if defined(__clang__)
#define CSSP_SIMD_LOOP _Pragma("clang loop vectorize(assume_safety)")
#else
#define CSSP_SIMD_LOOP _Pragma("GCC ivdep")
#endif

#endif  // CSSP_COMMON_OPTIM_SIMD_H_
