#include "worker/caffe/train_command.h"

#include <memory>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "common/base/logging.h"
#include "common/base/status_macros.h"
#include "common/model_file/prototxt.h"
#include "worker/caffe/python_nets.h"
#include "worker/caffe/runtime.h"
#include "worker/solver/solver.h"

namespace cssp {
namespace {

// Checks the flags, reads the solver and applies --level and --stage.
absl::StatusOr<caffe::SolverParameter> ReadSolverWithFlags(
    const CaffeFlags& flags) {
  if (flags.solver.empty())
    return absl::InvalidArgumentError(
        "Need a solver definition to train: --solver");
  if (!flags.snapshot.empty() && !flags.weights.empty())
    return absl::InvalidArgumentError(
        "Give a snapshot to resume training or weights to finetune but not "
        "both");
  ASSIGN_OR_RETURN(caffe::SolverParameter param, ReadSolver(flags.solver));
  if (flags.level != 0) param.mutable_train_state()->set_level(flags.level);
  for (absl::string_view stage :
       absl::StrSplit(flags.stage, ',', absl::SkipEmpty()))
    param.mutable_train_state()->add_stage(std::string(stage));
  return param;
}

absl::Status TrainAlone(const ProgramHost& host, const CaffeFlags& flags,
                        SignalActions& actions) {
  ASSIGN_OR_RETURN(caffe::SolverParameter param, ReadSolverWithFlags(flags));
  if (!flags.job_options.empty())
    LOG(WARNING) << "--" << absl::StrJoin(flags.job_options, ", --")
                 << " only matter under mpirun with several processes";
  const int threads = ComputeThreads(flags.threads, 1);
  ASSIGN_OR_RETURN(
      const std::shared_ptr<Compute> compute,
      MakeCompute({.gpu = flags.gpu,
                   .gpu_wanted =
                       param.solver_mode() == caffe::SolverParameter::GPU,
                   .gpu_ordinal = param.device_id(),
                   .cuda = CudaOptionsOf(flags),
                   .threads = threads,
                   .data_threads = flags.data_threads,
                   .extension = host.extension,
                   .place = {.source = flags.solver}}));
  LOG(INFO) << "Use " << compute->device->name() << ".";
  SolverOptions options;
  options.source_name = flags.solver;
  options.actions = &actions;
  options.sync_layers = flags.sync_layers;
  options.seed = param.random_seed() >= 0
                     ? static_cast<uint64_t>(param.random_seed())
                     : DrawSeed();
  LOG(INFO) << "Random seed " << options.seed;
  const std::string weights = WeightsFiles(flags, param);
  ASSIGN_OR_RETURN(std::unique_ptr<Solver> solver,
                   Solver::Create(std::move(param), compute->layers,
                                  *compute->device, options));
  LOG(INFO) << "Solver scaffolding done.";
  if (!flags.snapshot.empty()) {
    LOG(INFO) << "Resuming from " << flags.snapshot;
    RETURN_IF_ERROR(solver->Restore(flags.snapshot));
  } else if (!weights.empty()) {
    RETURN_IF_ERROR(solver->LoadWeights(weights));
  }
  LOG(INFO) << "Starting Optimization";
  RETURN_IF_ERROR(solver->Solve());
  LOG(INFO) << "Optimization Done.";
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<caffe::SolverParameter> ReadSolverForTraining(
    const CaffeFlags& flags) {
  ASSIGN_OR_RETURN(caffe::SolverParameter param, ReadSolverWithFlags(flags));
  RETURN_IF_ERROR(InlineNets(flags.solver, &param));
  return param;
}

std::string WeightsFiles(const CaffeFlags& flags,
                         const caffe::SolverParameter& solver) {
  if (!flags.snapshot.empty()) return "";
  if (!flags.weights.empty()) return flags.weights;
  return absl::StrJoin(solver.weights(), ",");
}

absl::Status TrainCommand(const ProgramHost& host, const CaffeFlags& flags) {
  ASSIGN_OR_RETURN(const SolverAction sigint,
                   ParseSolverAction("sigint_effect", flags.sigint_effect));
  ASSIGN_OR_RETURN(const SolverAction sighup,
                   ParseSolverAction("sighup_effect", flags.sighup_effect));
  // Before the launcher's client starts its threads.
  SignalActions actions(sigint, sighup);
  if (!host.extension && HasPythonLayers(flags)) return BecomePython(host);
  ASSIGN_OR_RETURN(std::unique_ptr<Launch> launch,
                   Launch::Create(ReadLaunchEnvironment()));
  if (launch->size() > 1) return ClusterTrain(host, flags, *launch, actions);
  return TrainAlone(host, flags, actions);
}

}  // namespace cssp
