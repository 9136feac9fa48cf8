#include "worker/caffe/net_commands.h"

#include <iomanip>
#include <memory>
#include <sstream>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "common/base/logging.h"
#include "common/base/status_macros.h"
#include "common/base/time_source.h"
#include "worker/net/net.h"
#include "worker/net/net_passes.h"
#include "worker/solver/snapshot.h"
#include "worker/solver/solver_nets.h"
#include "worker/solver/tester.h"

namespace cssp {
namespace {

constexpr uint64_t kSeed = 1;

absl::StatusOr<caffe::NetState> StateOf(const CaffeFlags& flags,
                                        caffe::Phase otherwise) {
  caffe::NetState state;
  state.set_phase(otherwise);
  if (!flags.phase.empty()) {
    caffe::Phase phase;
    if (!caffe::Phase_Parse(flags.phase, &phase))
      return absl::InvalidArgumentError(absl::StrCat(
          "--phase must be TRAIN or TEST, not '", flags.phase, "'"));
    state.set_phase(phase);
  }
  state.set_level(flags.level);
  for (absl::string_view stage :
       absl::StrSplit(flags.stage, ',', absl::SkipEmpty()))
    state.add_stage(std::string(stage));
  return state;
}

absl::StatusOr<std::shared_ptr<Compute>> ComputeFor(const ProgramHost& host,
                                                    const CaffeFlags& flags) {
  const ComputeOptions options{.gpu = flags.gpu,
                               .cuda = CudaOptionsOf(flags),
                               .threads = ComputeThreads(flags.threads, 1),
                               .data_threads = flags.data_threads,
                               .extension = host.extension,
                               .place = {.source = flags.model}};
  ASSIGN_OR_RETURN(std::shared_ptr<Compute> compute, MakeCompute(options));
  LOG(INFO) << "Use " << compute->device->name() << ".";
  return compute;
}

absl::StatusOr<std::unique_ptr<Net>> MakeNet(const CaffeFlags& flags,
                                             const caffe::NetState& state,
                                             bool keep_blobs,
                                             Compute& compute) {
  ASSIGN_OR_RETURN(const caffe::NetParameter param, ReadNet(flags.model));
  NetOptions options;
  options.state = state;
  options.keep_blobs = keep_blobs;
  options.source_name = flags.model;
  options.seed = kSeed;
  options.sync_layers = flags.sync_layers;
  return Net::Create(param, compute.layers, *compute.device, options);
}

std::string LossText(float weight, float value) {
  if (weight == 0) return "";
  std::ostringstream text;
  text << " (* " << weight << " = " << weight * value << " loss)";
  return text.str();
}

// Seconds of every layer, summed over the iterations.
struct LayerTimes {
  std::vector<double> forward, backward;
};

double Seconds(absl::Time since) {
  return absl::ToDoubleSeconds(TimeSource::Real().Now() - since);
}

absl::Status TimeOnce(Net& net, const StepState& state, LayerTimes* times) {
  for (int i = 0; i < net.num_layers(); ++i) {
    const absl::Time begin = TimeSource::Real().Now();
    RETURN_IF_ERROR(net.ForwardFromTo(state, i, i, nullptr));
    RETURN_IF_ERROR(net.Synchronize());
    times->forward[i] += Seconds(begin);
  }
  for (int i = net.num_layers() - 1; i >= 0; --i) {
    const absl::Time begin = TimeSource::Real().Now();
    RETURN_IF_ERROR(net.BackwardFromTo(state, i, i));
    RETURN_IF_ERROR(net.Synchronize());
    times->backward[i] += Seconds(begin);
  }
  return absl::OkStatus();
}

void PrintTimes(const Net& net, const LayerTimes& times, int iterations) {
  const double scale = 1000.0 / iterations;
  double forward = 0, backward = 0;
  LOG(INFO) << "Average time per layer: ";
  for (int i = 0; i < net.num_layers(); ++i) {
    const std::string& name = net.layer_names()[i];
    LOG(INFO) << std::setfill(' ') << std::setw(10) << name
              << "\tforward: " << times.forward[i] * scale << " ms.";
    LOG(INFO) << std::setfill(' ') << std::setw(10) << name
              << "\tbackward: " << times.backward[i] * scale << " ms.";
    forward += times.forward[i];
    backward += times.backward[i];
  }
  LOG(INFO) << "Average Forward pass: " << forward * scale << " ms.";
  LOG(INFO) << "Average Backward pass: " << backward * scale << " ms.";
}

}  // namespace

absl::Status TestCommand(const ProgramHost& host, const CaffeFlags& flags) {
  if (flags.model.empty())
    return absl::InvalidArgumentError(
        "Need a model definition to score: --model");
  if (flags.weights.empty())
    return absl::InvalidArgumentError("Need model weights to score: --weights");
  ASSIGN_OR_RETURN(caffe::NetState state, StateOf(flags, caffe::TEST));
  state.set_phase(caffe::TEST);
  ASSIGN_OR_RETURN(const std::shared_ptr<Compute> compute,
                   ComputeFor(host, flags));
  ASSIGN_OR_RETURN(std::unique_ptr<Net> net,
                   MakeNet(flags, state, /*keep_blobs=*/false, *compute));
  RETURN_IF_ERROR(LoadWeightsFiles(flags.weights, *net));
  LOG(INFO) << "Running for " << flags.iterations << " iterations.";
  TestOptions options;
  options.batches = flags.iterations;
  options.seed = kSeed;
  options.on_batch = [](int batch, const std::vector<OutputSample>& outputs) {
    for (const OutputSample& output : outputs)
      LOG(INFO) << "Batch " << batch << ", " << output.name << " = "
                << output.value;
  };
  ASSIGN_OR_RETURN(const TestScores scores, RunTest(*net, options));
  LOG(INFO) << "Loss: " << static_cast<float>(scores.loss);
  for (const OutputSample& output : scores.outputs)
    LOG(INFO) << output.name << " = " << output.value
              << LossText(output.loss_weight, output.value);
  return absl::OkStatus();
}

absl::Status TimeCommand(const ProgramHost& host, const CaffeFlags& flags) {
  if (flags.model.empty())
    return absl::InvalidArgumentError(
        "Need a model definition to time: --model");
  ASSIGN_OR_RETURN(const caffe::NetState net_state,
                   StateOf(flags, caffe::TRAIN));
  ASSIGN_OR_RETURN(const std::shared_ptr<Compute> compute,
                   ComputeFor(host, flags));
  // Backward is timed in either phase, and a TEST net can do it only so.
  const bool keep_blobs = net_state.phase() == caffe::TEST;
  ASSIGN_OR_RETURN(std::unique_ptr<Net> net,
                   MakeNet(flags, net_state, keep_blobs, *compute));
  if (!flags.weights.empty())
    RETURN_IF_ERROR(LoadWeightsFiles(flags.weights, *net));
  StepState state;
  state.phase = net_state.phase();
  state.seed = kSeed;
  double loss = 0;
  LOG(INFO) << "Performing Forward";
  RETURN_IF_ERROR(net->Forward(state, &loss));
  LOG(INFO) << "Initial loss: " << loss;
  LOG(INFO) << "Performing Backward";
  RETURN_IF_ERROR(net->Backward(state));
  RETURN_IF_ERROR(net->Synchronize());
  LOG(INFO) << "*** Benchmark begins ***";
  LOG(INFO) << "Testing for " << flags.iterations << " iterations.";
  LayerTimes times;
  times.forward.resize(net->num_layers());
  times.backward.resize(net->num_layers());
  const int64_t batch = BatchSize(*net);
  const absl::Time begin = TimeSource::Real().Now();
  for (int i = 0; i < flags.iterations; ++i) {
    state.clock = i + 1;
    state.first_record = state.clock * batch;
    const absl::Time iteration = TimeSource::Real().Now();
    RETURN_IF_ERROR(TimeOnce(*net, state, &times));
    LOG(INFO) << "Iteration: " << i + 1
              << " forward-backward time: " << Seconds(iteration) * 1000
              << " ms.";
  }
  const double total = Seconds(begin) * 1000;
  PrintTimes(*net, times, flags.iterations);
  LOG(INFO) << "Average Forward-Backward: " << total / flags.iterations
            << " ms.";
  LOG(INFO) << "Total Time: " << total << " ms.";
  LOG(INFO) << "*** Benchmark ends ***";
  return absl::OkStatus();
}

absl::Status DeviceQueryCommand(const CaffeFlags& flags) {
  const auto gpus = DescribeCudaDevices();
  if (!flags.gpu.empty()) {
    // Of these, and each must be there.
    ASSIGN_OR_RETURN(const std::vector<int> wanted, NamedGpus(flags.gpu));
    for (int ordinal : wanted) {
      RETURN_IF_ERROR(MakeCudaDevice(ordinal).status());
      LOG(INFO) << (*gpus)[ordinal];
    }
    return absl::OkStatus();
  }
  LOG(INFO) << "Device "
            << MakeCpuDevice(ComputeThreads(flags.threads, 1))->name();
  if (!gpus.ok()) {
    LOG(INFO) << "No GPU: " << gpus.status().message();
    return absl::OkStatus();
  }
  for (const std::string& text : *gpus) LOG(INFO) << text;
  return absl::OkStatus();
}

}  // namespace cssp
