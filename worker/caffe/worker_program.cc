// caffe-worker: one training process of a job, or its evaluator.
#include <unistd.h>

#include <cstdio>
#include <fstream>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "common/base/logging.h"
#include "common/base/status_macros.h"
#include "common/config/config_loader.h"
#include "common/config/environment.h"
#include "common/config/flag_set.h"
#include "common/launch/launch.h"
#include "worker/caffe/child_process.h"
#include "worker/caffe/evaluator_keeper.h"
#include "worker/caffe/programs.h"
#include "worker/caffe/python_nets.h"
#include "worker/caffe/runtime.h"
#include "worker/caffe/worker_process.h"

namespace cssp {
namespace {

constexpr absl::Duration kEvaluatorWait = absl::Minutes(15);

struct Options {
  ConfigSources sources;
  std::string coordinator, job, token_file, gpu;
  int32_t rank = -1, threads = 0;
  int32_t joined_fd = -1;  // evaluator: written to once it has joined
  bool evaluator = false, print_config = false, help = false, version = false;
  bool deterministic = false, sync_layers = false;
  std::string math = "fp32";
};

absl::StatusOr<WorkerConfig> Configure(const std::vector<std::string>& args,
                                       Options* o) {
  FlagSet flags(
      "caffe-worker: trains one rank of a job.\n"
      "usage: caffe-worker --job=ID --coordinator=HOST:PORT --token_file=FILE");
  flags.Add("config", &o->sources.file, "WorkerConfig as text");
  flags.Add("set", &o->sources.overrides, "one field; may be repeated");
  flags.Add("coordinator", &o->coordinator, "address of the coordinator");
  flags.Add("job", &o->job, "the job's id");
  flags.Add("token_file", &o->token_file, "file that holds the job's token");
  flags.Add("rank", &o->rank, "rank in the job; -1: from the launcher");
  flags.Add("threads", &o->threads, "compute threads; 0: cores / ranks");
  flags.Add("gpu", &o->gpu, "GPU to run on");
  flags.Add("deterministic", &o->deterministic,
            "GPU: only kernels that give equal bits in every run");
  flags.Add("math", &o->math, "GPU: fp32, tf32 or bf16");
  flags.Add("sync_layers", &o->sync_layers,
            "GPU: wait after every layer, so that a fault names its layer");
  flags.Add("evaluator", &o->evaluator, "test and export, do not train");
  flags.Add("joined_fd", &o->joined_fd,
            "evaluator: descriptor that is told when it has joined");
  flags.Add("print_config", &o->print_config, "print the configuration");
  flags.Add("help", &o->help, "print this");
  flags.Add("version", &o->version, "print the version");
  ASSIGN_OR_RETURN(const std::vector<std::string> rest, flags.Parse(args));
  if (!rest.empty())
    return absl::InvalidArgumentError(absl::StrCat(
        "unexpected argument '", rest[0], "'; caffe-worker --help"));
  for (const char* name : {"coordinator", "job", "token_file", "rank",
                           "threads", "gpu", "evaluator"}) {
    if (!flags.given(name)) continue;
    const std::string value =
        absl::string_view(name) == "rank"          ? absl::StrCat(o->rank)
        : absl::string_view(name) == "threads"     ? absl::StrCat(o->threads)
        : absl::string_view(name) == "evaluator"   ? (o->evaluator ? "true" : "false")
        : absl::string_view(name) == "coordinator" ? o->coordinator
        : absl::string_view(name) == "job"         ? o->job
        : absl::string_view(name) == "gpu"         ? o->gpu
                                                   : o->token_file;
    o->sources.overrides.push_back(absl::StrCat(name, "=", value));
  }
  if (o->help) std::fputs(flags.Help().c_str(), stdout);
  if (o->version) std::puts("caffe-worker (Caffe-SSP) 0.1.0");
  WorkerConfig config;
  o->sources.environment = EnvironmentList();
  ASSIGN_OR_RETURN(const ConfigOrigins origins,
                   LoadConfig(o->sources, &config));
  if (o->print_config)
    std::fputs(PrintConfig(config, origins).c_str(), stdout);
  if (o->help || o->version || o->print_config) return config;
  RETURN_IF_ERROR(Validate(config));
  return config;
}

absl::StatusOr<std::string> ReadToken(const std::string& path) {
  std::ifstream in(path);
  std::string token;
  if (!std::getline(in, token) || token.empty())
    return absl::NotFoundError(absl::StrCat(
        "cannot read the job's token from '", path, "': set --token_file"));
  return std::string(absl::StripAsciiWhitespace(token));
}

// The evaluator of the job: this program again.
absl::StatusOr<std::unique_ptr<ChildProcess>> SpawnEvaluator(
    const std::string& program, const WorkerConfig& config,
    const Options& options, int joined_fd) {
  std::vector<std::string> args = {
      "--evaluator", absl::StrCat("--coordinator=", config.coordinator()),
      absl::StrCat("--job=", config.job()),
      absl::StrCat("--token_file=", config.token_file()),
      absl::StrCat("--joined_fd=", joined_fd)};
  if (!options.sources.file.empty())
    args.push_back(absl::StrCat("--config=", options.sources.file));
  if (config.threads() > 0)
    args.push_back(absl::StrCat("--threads=", config.threads()));
  return ChildProcess::Start(program, args, {});
}

// The evaluator that rank 0 brings along.
struct EvaluatorChild {
  std::unique_ptr<EvaluatorKeeper> keeper;  // null: none
  absl::Duration wait = kEvaluatorWait;     // after a failure
};

// What a process does once it has joined.
absl::Status OnJoin(const ProgramHost& host, const JobSession& session,
                    const WorkerConfig& config, const Options& options,
                    EvaluatorChild* evaluator) {
  if (config.evaluator()) {
    if (options.joined_fd >= 0) {
      if (write(options.joined_fd, "j", 1) != 1)
        LOG(WARNING) << "rank 0 does not listen";
      close(options.joined_fd);
    }
    return absl::OkStatus();
  }
  // A rank that is started again brings an evaluator of its own.
  if (session.spec().wait_for_dead()) evaluator->wait = absl::ZeroDuration();
  if (!config.spawn_evaluator() || session.joined().rank() != 0)
    return absl::OkStatus();
  ASSIGN_OR_RETURN(
      evaluator->keeper,
      EvaluatorKeeper::Create(
          [program = host.path, config, options](int joined_fd) {
            return SpawnEvaluator(program, config, options, joined_fd);
          }));
  return absl::OkStatus();
}

absl::Status Run(const ProgramHost& host) {
  Options options;
  ASSIGN_OR_RETURN(WorkerConfig config, Configure(host.args, &options));
  if (options.help || options.version || options.print_config)
    return absl::OkStatus();
  WorkerProcessOptions process;
  ASSIGN_OR_RETURN(process.token, ReadToken(config.token_file()));
  ASSIGN_OR_RETURN(process.cuda.math, ParseMathMode(options.math));
  process.cuda.deterministic = options.deterministic;
  process.sync_layers = options.sync_layers;
  process.extension = host.extension;
  // Before the launcher's client starts its threads: mpirun passes Ctrl-C on,
  // and the launcher or psctl decides what it means.
  SignalActions signals(SolverAction::kStop, SolverAction::kSnapshot);
  std::unique_ptr<SignalActions> leave;
  if (!config.evaluator()) leave = SignalActions::ForWorker();
  if (!host.extension) {
    ASSIGN_OR_RETURN(const bool python, HasPythonLayers(config));
    if (python) return BecomePython(host);
  }
  // The evaluator has inherited its parent's place in the launch: not its own.
  std::unique_ptr<Launch> launch;
  if (!config.evaluator()) {
    ASSIGN_OR_RETURN(launch, Launch::Create(ReadLaunchEnvironment()));
    process.ranks_on_host = launch->local_size();
    process.host_rank = launch->local_rank();
    if (config.rank() < 0 && launch->size() > 1) config.set_rank(launch->rank());
    if (config.join()) config.set_rank(-1);  // the coordinator gives one
  }
  EvaluatorChild evaluator;
  process.actions = config.evaluator() ? &signals : leave.get();
  process.on_join = [&](JobSession& session) {
    return OnJoin(host, session, config, options, &evaluator);
  };
  process.config = config;
  const absl::Status worked = RunWorkerProcess(process);
  if (evaluator.keeper != nullptr)
    evaluator.keeper->Wait(worked.ok() ? kEvaluatorWait : evaluator.wait);
  return worked;
}

}  // namespace

int WorkerProgram(const ProgramHost& host) {
  return ExitCodeFor("caffe-worker", Run(host));
}

}  // namespace cssp
