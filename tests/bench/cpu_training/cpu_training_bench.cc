// Our half of tests/bench/cpu_training: one training process that is told how
// many iterations to run, so that a driver can interleave it with others.
//
//   cpu_training_bench NET.prototxt THREADS   every line on stdin, a number of
//       iterations, is answered by one line: for each its wall time and the
//       processor time of all threads, in milliseconds.
//       The first line of the output: floating-point operations an iteration.
//   cpu_training_bench --peak THREADS         the processor's multiply-adds, in
//       GFLOP/s over all threads.
//   cpu_training_bench --layers NET.prototxt THREADS ITERATIONS   a table of
//       milliseconds per layer, forward and backward.
#include <immintrin.h>
#include <omp.h>
#include <time.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <iostream>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "absl/strings/numbers.h"
#include "common/base/logging.h"
#include "common/base/status_macros.h"
#include "common/model_file/prototxt.h"
#include "worker/layers/builtin_layers.h"
#include "worker/solver/solver.h"

namespace cssp {
namespace {

using Clock = std::chrono::steady_clock;

double Milliseconds(Clock::time_point since) {
  return std::chrono::duration<double, std::milli>(Clock::now() - since)
      .count();
}

double ProcessorMilliseconds() {
  timespec used;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used);
  return static_cast<double>(used.tv_sec) * 1e3 +
         static_cast<double>(used.tv_nsec) * 1e-6;
}

// Independent multiply-adds in registers: what no kernel can exceed.
__attribute__((target("avx512f"))) double Avx512Flops(int64_t rounds) {
  constexpr int kChains = 24;
  __m512 sum[kChains];
  for (int i = 0; i < kChains; ++i) sum[i] = _mm512_set1_ps(1.0f + i);
  const __m512 a = _mm512_set1_ps(0.999f), b = _mm512_set1_ps(0.001f);
  for (int64_t r = 0; r < rounds; ++r) {
#pragma GCC unroll 24
    for (int i = 0; i < kChains; ++i) sum[i] = _mm512_fmadd_ps(sum[i], a, b);
  }
  __m512 total = _mm512_setzero_ps();
  for (int i = 0; i < kChains; ++i) total = _mm512_add_ps(total, sum[i]);
  float lanes[16];
  _mm512_storeu_ps(lanes, total);
  CHECK(lanes[0] != 0.5f);  // keeps the loop
  return 2.0 * 16 * kChains * static_cast<double>(rounds);
}

double ThreadMilliseconds() {
  timespec used;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &used);
  return static_cast<double>(used.tv_sec) * 1e3 +
         static_cast<double>(used.tv_nsec) * 1e-6;
}

// The best of several rounds, by the time that each thread had a core.
void PrintPeak(int threads) {
  double best = 0;
  for (int round = 0; round < 20; ++round) {
    double sum = 0;
#pragma omp parallel num_threads(threads) reduction(+ : sum)
    {
      const double begin = ThreadMilliseconds();
      const double flops = Avx512Flops(1000000);
      sum += flops / (ThreadMilliseconds() - begin) / 1e6;
    }
    best = std::max(best, sum);
  }
  std::printf("%.1f\n", best);
}

// Of convolutions and inner products; backward is twice forward, but for the
// data gradient that the first layer does not compute.
double Flops(Net& net) {
  double all = 0, first = 0;
  for (int l = 0; l < net.num_layers(); ++l) {
    const Layer& layer = net.layer(l);
    const bool conv = layer.type() == "Convolution";
    if (!conv && layer.type() != "InnerProduct") continue;
    const Shape& top = net.blob(layer.layer_param().top(0))->shape();
    const Shape& weights = layer.param_declarations()[0].shape;
    const double forward = 2.0 * static_cast<double>(weights.count()) *
                           top.dim(0) * (conv ? top.count_from(2) : 1);
    if (all == 0) first = forward;
    all += 3 * forward;
  }
  return all - first;
}

absl::Status FillInputs(Net& net) {
  std::mt19937 rng(1);
  std::normal_distribution<float> normal;
  int64_t classes = 10;
  for (int l = 0; l < net.num_layers(); ++l) {
    if (net.layer(l).type() == "InnerProduct")
      classes = net.layer(l).param_declarations()[0].shape.dim(0);
  }
  for (float& value : net.blob("data")->mutable_data()) value = normal(rng);
  for (float& value : net.blob("label")->mutable_data())
    value = static_cast<float>(rng() % classes);
  return absl::OkStatus();
}

struct Training {
  LayerRegistry layers;
  std::unique_ptr<Device> device;
  std::unique_ptr<Solver> solver;
};

absl::StatusOr<std::unique_ptr<Training>> Prepare(const std::string& path,
                                                  int threads) {
  auto training = std::make_unique<Training>();
  training->device = MakeCpuDevice(threads);
  RETURN_IF_ERROR(RegisterCpuLayers(training->layers));
  caffe::SolverParameter param;
  RETURN_IF_ERROR(ParseText(
      "base_lr: 0.0001 momentum: 0.9 weight_decay: 0.0005 lr_policy: 'fixed' "
      "max_iter: 1000000 snapshot_after_train: false",
      "solver", &param));
  param.set_net(path);
  SolverOptions options;
  options.source_name = path;
  ASSIGN_OR_RETURN(
      training->solver,
      Solver::Create(param, training->layers, *training->device, options));
  RETURN_IF_ERROR(FillInputs(training->solver->net()));
  return training;
}

absl::Status Serve(const std::string& path, int threads) {
  // A net of its own: looking at a blob pins it.
  ASSIGN_OR_RETURN(const auto counted, Prepare(path, threads));
  std::printf("%.0f\n", Flops(counted->solver->net()));
  std::fflush(stdout);
  ASSIGN_OR_RETURN(const auto training, Prepare(path, threads));
  int iterations = 0;
  while (std::cin >> iterations) {
    for (int i = 0; i < iterations; ++i) {
      const Clock::time_point begin = Clock::now();
      const double used = ProcessorMilliseconds();
      RETURN_IF_ERROR(training->solver->Step(1));
      std::printf("%.3f %.3f ", Milliseconds(begin),
                  ProcessorMilliseconds() - used);
    }
    std::printf("\n");
    std::fflush(stdout);
  }
  return absl::OkStatus();
}

absl::Status PrintLayers(const std::string& path, int threads, int rounds) {
  ASSIGN_OR_RETURN(const auto training, Prepare(path, threads));
  Solver& solver = *training->solver;
  Net& net = solver.net();
  RETURN_IF_ERROR(solver.Step(2));
  const int layers = net.num_layers();
  std::vector<double> forward(layers, 1e30), backward(layers, 1e30);
  StepState state;
  double update = 1e30;
  for (int r = 0; r < rounds; ++r) {
    for (int l = 0; l < layers; ++l) {
      const Clock::time_point begin = Clock::now();
      RETURN_IF_ERROR(net.ForwardFromTo(state, l, l, nullptr));
      forward[l] = std::min(forward[l], Milliseconds(begin));
    }
    for (int l = layers - 1; l >= 0; --l) {
      const Clock::time_point begin = Clock::now();
      RETURN_IF_ERROR(net.BackwardFromTo(state, l, l));
      backward[l] = std::min(backward[l], Milliseconds(begin));
    }
    const Clock::time_point begin = Clock::now();
    RETURN_IF_ERROR(solver.local()->Update(r, net.gradients(0)));
    update = std::min(update, Milliseconds(begin));
    net.WeightsChanged();
  }
  double sums[2] = {};
  for (int l = 0; l < layers; ++l) {
    std::printf("%-22s %-16s %8.3f %8.3f\n", net.layer_names()[l].c_str(),
                net.layer(l).type().c_str(), forward[l], backward[l]);
    sums[0] += forward[l];
    sums[1] += backward[l];
  }
  std::printf("%-39s %8.3f %8.3f  update %.3f\n", "sum", sums[0], sums[1],
              update);
  return absl::OkStatus();
}

int Main(int argc, char** argv) {
  FLAGS_minloglevel = google::GLOG_WARNING;
  int threads = 2, rounds = 20;
  const std::string first = argc > 1 ? argv[1] : "";
  if (first == "--peak" && argc > 2 && absl::SimpleAtoi(argv[2], &threads)) {
    PrintPeak(threads);
    return 0;
  }
  absl::Status status = absl::InvalidArgumentError(
      "usage: cpu_training_bench NET THREADS | --peak THREADS | "
      "--layers NET THREADS ROUNDS");
  if (first == "--layers" && argc > 4 && absl::SimpleAtoi(argv[3], &threads) &&
      absl::SimpleAtoi(argv[4], &rounds)) {
    status = PrintLayers(argv[2], threads, rounds);
  } else if (argc > 2 && absl::SimpleAtoi(argv[2], &threads)) {
    status = Serve(first, threads);
  }
  if (status.ok()) return 0;
  std::fprintf(stderr, "%s\n", std::string(status.message()).c_str());
  return 1;
}

}  // namespace
}  // namespace cssp

int main(int argc, char** argv) { return cssp::Main(argc, argv); }
