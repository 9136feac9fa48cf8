#include "common/transport/transport.h"

#include <cstring>
#include <new>

namespace cssp {
namespace {

constexpr std::align_val_t kCacheLine{64};

}  // namespace

std::shared_ptr<uint8_t> Transport::AllocateMemory(size_t bytes) {
  auto* memory = static_cast<uint8_t*>(::operator new(bytes, kCacheLine));
  std::memset(memory, 0, bytes);
  return {memory,
          [](uint8_t* freed) { ::operator delete(freed, kCacheLine); }};
}

}  // namespace cssp
