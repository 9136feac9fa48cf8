// Winograd's minimal filtering for stride-1 convolutions of 3x3 and 5x5, on
// AVX-512 and tensors in blocks of 16 channels: what oneDNN leaves out (5x5,
// groups, channels that fill no block).
//
// Bottom tiles of 6x6 give top tiles of m x m, m = 7 - kernel:
//   Y = A^T [ (G g G^T) * (B^T d B) ] A
// so that 36 products stand where the definition has kernel^2 * m^2: 144 of
// 3x3, 100 of 5x5.  The matrices are those of Toom and Cook for the points 0,
// 1, -1, 2, -2 and infinity (Lavin and Gray 2016 have them for 3x3); the error
// is a few 1e-6 of the largest value, a few 1e-5 for the weights' gradient of
// 5x5.  B^T d B needs no weights and is the same for both kernels.  Backward to the bottom is a convolution with the weights
// turned round; backward to the weights is the transpose of the formula:
//   dg = G^T [ sum over tiles (A dY A^T) * (B^T d B) ] G
#ifndef CSSP_WORKER_LAYERS_CPU_WINOGRAD_H_
#define CSSP_WORKER_LAYERS_CPU_WINOGRAD_H_

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>

namespace cssp::cpu {

struct WinogradShape {
  int64_t items = 0;
  int64_t channels = 0;  // of the bottom
  int64_t outputs = 0;
  int64_t group = 1;
  int64_t kernel = 3;  // 3 or 5, square
  int64_t in[2] = {0, 0};
  int64_t pad[2] = {0, 0};

  int64_t out(int axis) const { return in[axis] + 2 * pad[axis] - kernel + 1; }
};

// Floats on a cache line's boundary, zero at first.
class AlignedFloats {
 public:
  AlignedFloats() = default;
  explicit AlignedFloats(int64_t count);
  float* data() const { return data_.get(); }
  explicit operator bool() const { return data_ != nullptr; }

 private:
  struct Free {
    void operator()(float* data) const { std::free(data); }
  };
  std::unique_ptr<float[], Free> data_;
};

// Thread-confined: the training thread.  Tiles are dealt to threads in equal
// runs and sums over tiles are made in tile order whatever the threads, so all
// results have the same bits for any number of threads.
class Winograd {
 public:
  // This processor, the kernel, the groups' channels: whole blocks unless there
  // is one group alone.
  static bool Supports(const WinogradShape& shape);

  // REQUIRES: Supports(shape).
  explicit Winograd(const WinogradShape& shape);

  // Weights as Caffe has them: outputs, channels / group, kernel, kernel.
  void PackForward(const float* weights);
  void PackBackward(const float* weights);

  // REQUIRES: packed; `scratch` of scratch_bytes(), 64-byte aligned.  `bias`
  // may be null.  Lanes beyond the last channel are zero.
  void Forward(const float* bottom, const float* bias, float* top,
               void* scratch) const;
  void BackwardData(const float* top_gradient, float* bottom_gradient,
                    void* scratch) const;
  // `add`: onto what is there.
  void BackwardWeights(const float* bottom, const float* top_gradient, bool add,
                       float* gradient, void* scratch) const;
  // sums[o] = sum of the top's gradient over items and positions.
  void BackwardBias(const float* top_gradient, float* sums) const;

  size_t scratch_bytes() const;

 private:
  // One direction: blocks of 16 channels in and out, per group.
  struct Pass;
  Pass ForwardPass() const;
  Pass BackwardPass() const;
  void Convolve(const Pass& pass, const float* from, const float* bias,
                float* to, float* scratch) const;
  void Pack(const Pass& pass, bool turned, const float* weights,
            float* packed) const;

  WinogradShape shape_;
  int64_t in_ = 0, out_ = 0;                // channels per group
  int64_t in_blocks_ = 0, out_blocks_ = 0;  // per group
  int kernel_ = 3;
  int threads_ = 1;
  AlignedFloats forward_, backward_;
};

}  // namespace cssp::cpu

#endif  // CSSP_WORKER_LAYERS_CPU_WINOGRAD_H_
