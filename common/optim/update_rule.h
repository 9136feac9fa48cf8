// Caffe's six solvers as update rules on flat spans: the one implementation
// that servers and single-process training share.
#ifndef CSSP_COMMON_OPTIM_UPDATE_RULE_H_
#define CSSP_COMMON_OPTIM_UPDATE_RULE_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "proto/caffe.pb.h"

namespace cssp {

// What one clock's update needs beside the arrays.
struct UpdateStep {
  float rate = 0;      // learning rate of this clock, lr_mult not applied
  int64_t update = 0;  // 0-based count of updates made: Adam's t is update + 1
  float share = 1;     // of a clock that this update is (ChunkUpdate)
};

// Per blob.
struct BlobMultipliers {
  float lr_mult = 1;
  float decay_mult = 1;
};

// The gradient as a rule sees it, from the mean over contributors g and the
// weight w: g, g * scale, g * scale + decay * w, g * scale + decay * sign(w).
struct GradientForm {
  enum class Kind { kAsItIs, kScaled, kL2, kL1 };
  Kind kind = Kind::kAsItIs;
  float scale = 1;
  float decay = 0;
};

// Immutable.  All arithmetic is fp32, element by element, compiled with
// -ffp-contract=off: the same bits on every ISA and for every chunking.
class UpdateRule {
 public:
  virtual ~UpdateRule() = default;

  // From type, momentum, delta, ...; InvalidArgument where Caffe refuses
  // (AdaGrad with momentum) and for an unknown type (known ones listed).
  static absl::StatusOr<std::unique_ptr<UpdateRule>> Create(
      const caffe::SolverParameter& solver);

  virtual const char* type() const = 0;
  // History arrays per parameter: 1, or 2 (AdaDelta, Adam).
  virtual int num_history() const = 0;
  // Linear in the gradient: fit for PER_PUSH and for looking ahead.
  virtual bool linear() const = 0;
  // Without new gradients, history h moves the weights by -Coast(n) * h in n
  // updates.  REQUIRES: linear().
  virtual float Coast(int64_t updates) const { return 0; }

  // weights_out may equal weights_in.  history[k] has the spans' length.
  struct Arrays {
    absl::Span<const float> weights_in;
    absl::Span<float> weights_out;
    absl::Span<float* const> history;
    absl::Span<const float> gradient;
  };
  virtual void Apply(const UpdateStep& step, const BlobMultipliers& blob,
                     const GradientForm& form, const Arrays& arrays) const = 0;
};

// Caffe's Normalize and Regularize: decay = weight_decay * decay_mult, L2 or
// L1; scale = clip factor / iter_size.
class Regularizer {
 public:
  static absl::StatusOr<Regularizer> Create(
      const caffe::SolverParameter& solver);
  GradientForm Form(float scale, const BlobMultipliers& blob) const;

 private:
  float weight_decay_ = 0;
  bool l1_ = false;
};

// Sums of squares per `block` floats of one blob's part, appended to *partials:
// one double a block.  Element i of a block is added in double to lane i % 8,
// then the eight lanes are added in order: vector code gives the same bits.
void SquaredNormPartials(absl::Span<const float> values, int64_t block,
                         std::vector<double>* partials);

// BVLC's ClipGradients: 1 where clip < 0 or norm <= clip, else clip / norm.
float ClipFactor(double sum_of_squares, float clip_gradients);

// Mean over contributors: out[i] = (parts[0][i] + parts[1][i] + ...) * scale in
// that order.  One part: out = part * scale.  `out` may be the first part.
void SumParts(absl::Span<const float* const> parts, float scale,
              absl::Span<float> out);
// Weighted by sample counts: sum(weight[p] * parts[p][i]).  `out` likewise.
void WeightedSumParts(absl::Span<const float* const> parts,
                      absl::Span<const float> weights, absl::Span<float> out);

}  // namespace cssp

#endif  // CSSP_COMMON_OPTIM_UPDATE_RULE_H_
