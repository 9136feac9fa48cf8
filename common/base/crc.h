// CRC-32C (Castagnoli): guards wire frames and stored chunks.
#ifndef CSSP_COMMON_BASE_CRC_H_
#define CSSP_COMMON_BASE_CRC_H_

#include <cstddef>
#include <cstdint>

namespace cssp {

// CRC of `size` bytes, continuing from `crc` (0 to begin).  Uses SSE4.2's
// instruction where the processor has it.
uint32_t Crc32c(const void* data, size_t size, uint32_t crc = 0);

// Copies `size` bytes, which do not overlap, and gives their CRC: of what was
// written, in one pass over memory.
uint32_t CopyWithCrc32c(void* to, const void* from, size_t size);

}  // namespace cssp

#endif  // CSSP_COMMON_BASE_CRC_H_
