// Recurrent layers over sequences: RNN and LSTM.
#ifndef CSSP_WORKER_LAYERS_RECURRENT_LAYER_H_
#define CSSP_WORKER_LAYERS_RECURRENT_LAYER_H_

#include <utility>
#include <vector>

#include "worker/net/layer.h"

namespace cssp {

// T steps of N streams, D = num_output.  Bottoms:
//   x         (T, N, ...)   I features a step
//   cont      (T, N)        0 where a stream begins anew: its state is zero
//   x_static  (N, ...)      optional, the same at every step
//   states    (1, N, D)     with expose_hidden: h_0 and, of LSTM, c_0
// Tops: (T, N, D); with expose_hidden also the states after step T.
//
// Without expose_hidden the state goes on from one batch to the next (and
// begins as zero), but gradients end at the batch's first step.  Exposed states
// are bottoms and tops like others: gradients flow into them and in from them
// (Caffe drops these without a word).
//
// Thread-confined: the training thread.
class RecurrentLayer : public Layer {
 public:
  absl::Status SetUp(absl::Span<const Shape> bottom) override;
  absl::StatusOr<std::vector<Shape>> InferShapes(
      absl::Span<const Shape> bottom) const override;
  LayerTraits Traits() const override;
  int min_bottoms() const override { return 2 + exposed_states(); }
  int max_bottoms() const override { return 3 + exposed_states(); }
  int min_tops() const override { return 1 + exposed_states(); }
  int max_tops() const override { return 1 + exposed_states(); }
  bool allow_force_backward(int bottom) const override { return bottom != 1; }
  bool propagates_to(int bottom) const override { return bottom != 1; }

 protected:
  // `states`: how many; `gates`: rows of the weights as multiples of D.
  RecurrentLayer(caffe::LayerParameter param, caffe::Phase phase, int states,
                 int gates)
      : Layer(std::move(param), phase), states_(states), gates_(gates) {}

  // Declares what comes behind the weights of x, b and the weights of x_static.
  virtual void DeclareRecurrent() = 0;
  void DeclareWeight(int64_t rows, int64_t columns);
  void DeclareBias(int64_t count);

  bool exposes() const {
    return layer_param().recurrent_param().expose_hidden();
  }
  bool has_static() const {
    return layer_param().bottom_size() > 2 + exposed_states();
  }
  int first_state_bottom() const { return has_static() ? 3 : 2; }
  int64_t num_output() const { return num_output_; }  // D
  int64_t inputs() const { return inputs_; }          // I
  int64_t static_inputs() const {
    return static_inputs_;
  }  // 0 if there are none
  // Index among the parameters of the first that DeclareRecurrent declared.
  int first_recurrent_param() const { return has_static() ? 3 : 2; }
  size_t scratch_bytes_ = 0;  // set by Bind

 private:
  int exposed_states() const { return exposes() ? states_ : 0; }

  const int states_;
  const int gates_;
  int64_t num_output_ = 0;
  int64_t inputs_ = 0;
  int64_t static_inputs_ = 0;
};

// h_t' = cont_t h_(t-1), and likewise c; s is the logistic function:
//   (i, f, o, g) = W_xc x_t + b_c + W_xc_static x_static + W_hc h_t'
//   c_t = s(f) c_t' + s(i) tanh(g),   h_t = s(o) tanh(c_t)     (the top)
// Parameters: W_xc (4D, I), b_c (4D), [W_xc_static (4D, I_static)],
// W_hc (4D, D).
class LstmLayer : public RecurrentLayer {
 public:
  LstmLayer(caffe::LayerParameter param, caffe::Phase phase)
      : RecurrentLayer(std::move(param), phase, /*states=*/2, /*gates=*/4) {}

 protected:
  void DeclareRecurrent() override;
};

//   h_t = tanh(W_xh x_t + b_h + W_xh_static x_static + W_hh cont_t h_(t-1))
//   o_t = tanh(W_ho h_t + b_o)                                 (the top)
// Parameters: W_xh (D, I), b_h (D), [W_xh_static (D, I_static)], W_hh (D, D),
// W_ho (D, D), b_o (D).
class RnnLayer : public RecurrentLayer {
 public:
  RnnLayer(caffe::LayerParameter param, caffe::Phase phase)
      : RecurrentLayer(std::move(param), phase, /*states=*/1, /*gates=*/1) {}

  LayerTraits Traits() const override;

 protected:
  void DeclareRecurrent() override;
};

}  // namespace cssp

#endif  // CSSP_WORKER_LAYERS_RECURRENT_LAYER_H_
