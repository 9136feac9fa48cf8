#include "worker/caffe/flags.h"

#include <algorithm>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/base/status_macros.h"
#include "common/config/flag_set.h"
#include "common/ps/gradient_wire.h"

namespace cssp {
namespace {

const char kUsage[] =
    "command line brew\n"
    "usage: caffe <command> <args>\n\n"
    "commands:\n"
    "  train           train or finetune a model\n"
    "  test            score a model\n"
    "  device_query    show diagnostic information on devices\n"
    "  time            benchmark model execution time\n\n"
    "Alone, train is Caffe in one process.  Under mpirun -n M+1 rank 0 hosts an\n"
    "embedded parameter server and ranks 1..M train.";

const char* const kJobOptions[] = {
    "staleness",   "ssp_update",   "fresh_wait", "straggler",
    "chunk_bytes", "global_batch", "lazy_pull",  "wait_for_dead",
    "max_ahead",   "lookahead",    "backup",     "wire",
    "balance"};

void AddBvlcFlags(CaffeFlags& f, FlagSet* flags) {
  flags->Add("gpu", &f.gpu,
             "GPU to run on: a device number; under mpirun also a list or "
             "'all', one process each");
  flags->Add("solver", &f.solver, "the solver definition (prototxt)");
  flags->Add("model", &f.model, "the model definition (prototxt)");
  flags->Add("phase", &f.phase, "time: network phase, TRAIN or TEST");
  flags->Add("level", &f.level, "network level");
  flags->Add("stage", &f.stage, "network stages, separated by ','");
  flags->Add("snapshot", &f.snapshot, "the .solverstate to resume from");
  flags->Add("weights", &f.weights,
             "trained weights (.caffemodel), separated by ','");
  flags->Add("iterations", &f.iterations, "test, time: batches to run");
  flags->Add("sigint_effect", &f.sigint_effect,
             "on SIGINT: snapshot, stop or none");
  flags->Add("sighup_effect", &f.sighup_effect,
             "on SIGHUP: snapshot, stop or none");
}

void AddOwnFlags(CaffeFlags& f, FlagSet* flags) {
  flags->Add("threads", &f.threads,
             "compute threads of a process; 0: cores / ranks on the host");
  flags->Add("data_threads", &f.data_threads,
             "threads of each data layer; 0: as many as compute");
  flags->Add("deterministic", &f.deterministic,
             "GPU: only kernels that give equal bits in every run");
  flags->Add("math", &f.math,
             "GPU: how matrices are multiplied, fp32, tf32 or bf16");
  flags->Add("sync_layers", &f.sync_layers,
             "GPU: wait after every layer, so that a fault names its layer");
  flags->Add("staleness", &f.staleness,
             "mpirun: clocks that a worker may run ahead of the slowest; -1: "
             "only max_ahead bounds them");
  flags->Add("max_ahead", &f.max_ahead,
             "mpirun: clocks ahead, whatever the staleness; 0: default");
  flags->Add("lookahead", &f.lookahead,
             "mpirun: late readers get what momentum predicts");
  flags->Add("ssp_update", &f.ssp_update, "mpirun: PER_CLOCK or PER_PUSH");
  flags->Add("fresh_wait", &f.fresh_wait,
             "mpirun: share of the median clock to wait for the fresh version");
  flags->Add("straggler", &f.straggler,
             "mpirun, test aid: RANK:FACTOR, rotating:, random: or "
             "exponential:FACTOR, [@MS]");
  flags->Add("backup", &f.backup,
             "mpirun: a clock is the mean of the first workers - N");
  flags->Add("wire", &f.wire,
             "mpirun: how gradients travel, FP32 or BF16");
  flags->Add("balance", &f.balance,
             "mpirun: slow workers take smaller batches, fast ones larger");
  flags->Add("chunk_bytes", &f.chunk_bytes,
             "mpirun: 16384..4194304; 0: by the model's size, at most 512 KiB");
  flags->Add("global_batch", &f.global_batch,
             "mpirun: batch_size is divided by the workers");
  flags->Add("lazy_pull", &f.lazy_pull, "mpirun: pull on demand");
  flags->Add("wait_for_dead", &f.wait_for_dead,
             "mpirun: wait for a dead worker instead of going on");
  flags->Add("bind_host", &f.bind_host,
             "mpirun: address of the embedded server; default: loopback on one "
             "host, else the host's first routable address");
  flags->Add("server_program", &f.server_program,
             "mpirun: the ps-server program; default: ../bin/ps-server");
  flags->Add("metrics_port", &f.metrics_port,
             "mpirun: /metrics of each worker; -1: none, 0: any port");
  flags->Add("help", &f.help, "print this");
  flags->Add("version", &f.version, "print the version");
}

absl::Status Check(const CaffeFlags& f) {
  static const char* const kActions[] = {"train", "test", "time",
                                         "device_query"};
  if (std::none_of(std::begin(kActions), std::end(kActions),
                   [&](const char* a) { return f.action == a; }))
    return absl::InvalidArgumentError(absl::StrCat(
        "unknown action '", f.action, "'; known: ",
        absl::StrJoin(kActions, ", ")));
  if (f.iterations < 1)
    return absl::InvalidArgumentError("--iterations must be at least 1");
  RETURN_IF_ERROR(Annotate(ParseMathMode(f.math).status(), "--math"));
  if (f.threads < 0 || f.data_threads < 0)
    return absl::InvalidArgumentError(
        "--threads and --data_threads must not be negative");
  if (f.ssp_update != "PER_CLOCK" && f.ssp_update != "PER_PUSH")
    return absl::InvalidArgumentError(absl::StrCat(
        "--ssp_update must be PER_CLOCK or PER_PUSH, not '", f.ssp_update,
        "'"));
  return Annotate(ps::ParseGradientWire(f.wire).status(), "--wire");
}

}  // namespace

CudaOptions CudaOptionsOf(const CaffeFlags& flags) {
  return {.deterministic = flags.deterministic,
          .math = ParseMathMode(flags.math).value_or(MathMode::kFp32)};
}

absl::StatusOr<CaffeFlags> ParseCaffeFlags(
    const std::vector<std::string>& args) {
  CaffeFlags f;
  FlagSet flags(kUsage);
  AddBvlcFlags(f, &flags);
  AddOwnFlags(f, &flags);
  f.help_text = flags.Help();
  ASSIGN_OR_RETURN(const std::vector<std::string> rest, flags.Parse(args));
  if (f.help || f.version || rest.empty()) {
    f.help = !f.version;
    return f;
  }
  if (rest.size() > 1)
    return absl::InvalidArgumentError(
        absl::StrCat("unexpected argument '", rest[1], "'; caffe --help"));
  f.action = rest[0];
  absl::AsciiStrToUpper(&f.ssp_update);
  for (const char* option : kJobOptions)
    if (flags.given(option)) f.job_options.push_back(option);
  RETURN_IF_ERROR(Check(f));
  return f;
}

}  // namespace cssp
