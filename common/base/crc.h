// CRC-32C (Castagnoli): guards wire frames and stored chunks.
#ifndef CSSP_COMMON_BASE_CRC_H_
#define CSSP_COMMON_BASE_CRC_H_

#include <cstddef>
#include <cstdint>

namespace cssp {

// CRC of `size` bytes, continuing from `crc` (0 to begin).  Uses SSE4.2's
// instruction where the processor has it.
uint32_t Crc32c(const void* data, size_t size, uint32_t crc = 0);

}  // namespace cssp

#endif  // CSSP_COMMON_BASE_CRC_H_
