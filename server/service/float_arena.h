// The memory of one job's values on this server: a few large stretches from the
// transport, which workers on this host read in place.
#ifndef CSSP_SERVER_SERVICE_FLOAT_ARENA_H_
#define CSSP_SERVER_SERVICE_FLOAT_ARENA_H_

#include <algorithm>
#include <cstdint>
#include <functional>
#include <memory>
#include <utility>

namespace cssp {

// Thread-confined: whoever has the job.  A stretch lives as long as an array in
// it; arrays are not given back one by one (BufferPool reuses them).
class FloatArena {
 public:
  using Source = std::function<std::shared_ptr<uint8_t>(size_t bytes)>;
  explicit FloatArena(Source source) : source_(std::move(source)) {}

  std::shared_ptr<float> Take(int64_t floats) {
    const int64_t bytes =
        (floats * int64_t{sizeof(float)} + kAlign - 1) / kAlign * kAlign;
    if (used_ + bytes > size_) {
      size_ = std::max(bytes, std::clamp(2 * size_, kLeast, kMost));
      stretch_ = source_(size_);
      used_ = 0;
    }
    auto* start = reinterpret_cast<float*>(stretch_.get() + used_);
    used_ += bytes;
    return {stretch_, start};
  }

 private:
  static constexpr int64_t kAlign = 64;
  static constexpr int64_t kLeast = int64_t{1} << 20;
  static constexpr int64_t kMost = int64_t{64} << 20;

  const Source source_;
  std::shared_ptr<uint8_t> stretch_;
  int64_t size_ = 0;
  int64_t used_ = 0;
};

}  // namespace cssp

#endif  // CSSP_SERVER_SERVICE_FLOAT_ARENA_H_
