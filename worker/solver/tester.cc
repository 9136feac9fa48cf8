#include "worker/solver/tester.h"

#include "common/base/status_macros.h"
#include "worker/solver/solver_nets.h"

namespace cssp {
namespace {

void Accumulate(const std::vector<OutputSample>& batch,
                std::vector<OutputSample>* sums, std::vector<double>* values) {
  if (sums->empty()) {
    *sums = batch;
    values->assign(batch.size(), 0);
  }
  for (size_t i = 0; i < batch.size() && i < values->size(); ++i)
    (*values)[i] += batch[i].value;
}

}  // namespace

std::vector<OutputSample> Outputs(Net& net) {
  std::vector<OutputSample> outputs;
  for (const std::string& name : net.output_names()) {
    const absl::Span<const float> data = net.blob(name)->data();
    const float weight = net.output_loss_weight(name);
    for (size_t k = 0; k < data.size(); ++k)
      outputs.push_back({name, static_cast<int>(k), data[k], weight});
  }
  return outputs;
}

absl::StatusOr<TestScores> RunTest(Net& net, const TestOptions& options) {
  TestScores scores;
  std::vector<double> sums;
  StepState state;
  state.phase = net.phase();
  state.seed = options.seed;
  const int64_t batch_size = BatchSize(net);
  for (int batch = 0; batch < options.batches; ++batch) {
    if (options.interrupted && options.interrupted()) {
      scores.interrupted = true;
      return scores;
    }
    state.clock = batch;
    state.first_record = batch * batch_size;
    double loss = 0;
    RETURN_IF_ERROR(net.Forward(state, &loss));
    scores.loss += loss;
    const std::vector<OutputSample> outputs = Outputs(net);
    if (options.on_batch) options.on_batch(batch, outputs);
    Accumulate(outputs, &scores.outputs, &sums);
  }
  const double scale = options.batches > 0 ? 1.0 / options.batches : 0;
  scores.loss *= scale;
  for (size_t i = 0; i < sums.size(); ++i)
    scores.outputs[i].value = static_cast<float>(sums[i] * scale);
  return scores;
}

}  // namespace cssp
