#include "server/psctl/submit.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <limits>
#include <memory>
#include <system_error>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "absl/time/time.h"
#include "common/base/status_macros.h"
#include "common/model_file/prototxt.h"
#include "common/ps/consistency.h"
#include "common/ps/gradient_wire.h"
#include "server/psctl/follow.h"
#include "server/psctl/launcher.h"
#include "server/psctl/output.h"

namespace cssp {
namespace {

// Workers read these files, perhaps in another folder.
absl::StatusOr<std::string> AbsoluteFiles(const std::string& flag,
                                          const std::string& list) {
  std::vector<std::string> files;
  for (absl::string_view file : absl::StrSplit(list, ',', absl::SkipEmpty())) {
    std::error_code error;
    const auto path = std::filesystem::absolute(std::string(file), error);
    if (error || !std::filesystem::is_regular_file(path, error))
      return absl::NotFoundError(
          absl::StrCat("--", flag, ": no file '", file, "'"));
    files.push_back(path.lexically_normal().string());
  }
  return absl::StrJoin(files, ",");
}

absl::StatusOr<control::SspUpdate> ParseUpdate(const std::string& name) {
  control::SspUpdate update;
  if (control::SspUpdate_Parse(absl::AsciiStrToUpper(name), &update))
    return update;
  return absl::InvalidArgumentError(absl::StrCat(
      "--ssp_update ", name, ": known are per_clock and per_push"));
}

absl::StatusOr<control::StalenessLr> ParseStalenessLr(const std::string& name) {
  control::StalenessLr kind;
  const std::string whole =
      absl::StrCat("STALENESS_LR_", absl::AsciiStrToUpper(name));
  if (control::StalenessLr_Parse(whole, &kind)) return kind;
  return absl::InvalidArgumentError(absl::StrCat(
      "--staleness_lr ", name, ": known are default, none, inv and sqrt"));
}

absl::Status SetConsistency(const SubmitOptions& options,
                            control::JobSpec* spec) {
  ASSIGN_OR_RETURN(const control::SspUpdate update,
                   ParseUpdate(options.ssp_update));
  ASSIGN_OR_RETURN(const control::StalenessLr staleness_lr,
                   ParseStalenessLr(options.staleness_lr));
  const auto wire = ps::ParseGradientWire(options.wire);
  RETURN_IF_ERROR(Annotate(wire.status(), "--wire"));
  if (options.async && options.staleness > 0)
    return absl::InvalidArgumentError(
        "--async and --staleness: a job without a bound has none");
  spec->set_ssp_update(options.async ? control::PER_PUSH : update);
  spec->set_staleness(options.async ? ps::kAsync : options.staleness);
  spec->set_max_ahead(options.max_ahead);
  spec->set_lazy_pull(options.lazy_pull);
  spec->set_lookahead(options.lookahead);
  spec->set_wire(*wire);
  spec->set_staleness_lr(staleness_lr);
  spec->set_fresh_wait(options.fresh_wait);
  return absl::OkStatus();
}

// NAME:ROWSxWIDTH[:sparse=N][:s=N]
absl::Status ParseTable(absl::string_view item, control::TableSpec* table) {
  const std::vector<absl::string_view> parts = absl::StrSplit(item, ':');
  const std::pair<absl::string_view, absl::string_view> size =
      absl::StrSplit(parts.size() < 2 ? "" : parts[1], absl::MaxSplits('x', 1));
  int64_t rows = 0;
  int32_t width = 0;
  bool good = !parts[0].empty() && absl::SimpleAtoi(size.first, &rows) &&
              absl::SimpleAtoi(size.second, &width);
  for (size_t i = 2; i < parts.size() && good; ++i) {
    absl::string_view option = parts[i];
    int64_t value = 0;
    const bool sparse = absl::ConsumePrefix(&option, "sparse=");
    good = (sparse || absl::ConsumePrefix(&option, "s=")) &&
           absl::SimpleAtoi(option, &value) && value >= 0 &&
           (sparse || value <= std::numeric_limits<int32_t>::max());
    if (sparse) {
      table->set_sparse_rows(value);
    } else {
      table->set_staleness(static_cast<int32_t>(value));
    }
  }
  if (!good)
    return absl::InvalidArgumentError(
        absl::StrCat("--tables: '", item,
                     "' is not NAME:ROWSxWIDTH, with :sparse=ROWS or :s=CLOCKS "
                     "after it or without"));
  table->set_name(std::string(parts[0]));
  table->set_rows(rows);
  table->set_width(width);
  return absl::OkStatus();
}

absl::Status ParseTables(const std::string& list, control::JobSpec* spec) {
  for (absl::string_view item : absl::StrSplit(list, ','))
    RETURN_IF_ERROR(ParseTable(item, spec->add_tables()));
  return absl::OkStatus();
}

absl::Status ParseRecovery(const SubmitOptions& options,
                           control::JobSpec* spec) {
  if (options.dead_workers != "continue" && options.dead_workers != "wait")
    return absl::InvalidArgumentError(
        absl::StrCat("--dead_workers ", options.dead_workers,
                     ": known are continue and wait"));
  control::Durability durability;
  if (!control::Durability_Parse(absl::AsciiStrToUpper(options.durability),
                                 &durability))
    return absl::InvalidArgumentError(
        absl::StrCat("--durability ", options.durability,
                     ": known are CHECKPOINT and LOG"));
  spec->set_wait_for_dead(options.dead_workers == "wait");
  spec->set_durability(durability);
  spec->set_checkpoint_clocks(options.checkpoint_clocks);
  spec->set_checkpoint_seconds(options.checkpoint_seconds);
  spec->set_keep_checkpoints(options.keep_checkpoints);
  return absl::OkStatus();
}

absl::Status WriteText(const std::string& path, const std::string& text) {
  const std::string temporary = absl::StrCat(path, ".", getpid());
  std::FILE* file = std::fopen(temporary.c_str(), "w");
  const bool written = file != nullptr && std::fputs(text.c_str(), file) >= 0;
  if (file == nullptr || std::fclose(file) != 0 || !written ||
      std::rename(temporary.c_str(), path.c_str()) != 0)
    return absl::InvalidArgumentError(
        absl::StrCat("cannot write '", path, "'"));
  return absl::OkStatus();
}

// Deletes the token's file when the workers need it no longer.
class TokenFile {
 public:
  explicit TokenFile(std::string path) : path_(std::move(path)) {}
  ~TokenFile() { unlink(path_.c_str()); }
  const std::string& path() const { return path_; }

 private:
  const std::string path_;
};

absl::Status CheckOptions(const SubmitOptions& options) {
  if (options.launch != "mpirun" && options.launch != "none")
    return absl::InvalidArgumentError(absl::StrCat(
        "--launch ", options.launch, ": known are mpirun and none"));
  if (!options.tables.empty() && options.launch != "none")
    return absl::InvalidArgumentError(
        "--tables: programs of your own join such a job; give --launch none");
  if (options.detach && options.wait)
    return absl::InvalidArgumentError("--detach and --wait contradict");
  for (const std::string& file : {options.hostfile, options.worker_config})
    if (!file.empty() && access(file.c_str(), R_OK) != 0)
      return absl::NotFoundError(absl::StrCat("'", file, "' cannot be read"));
  return absl::OkStatus();
}

void ShowSubmitted(const GlobalOptions& global, const std::string& job,
                   const std::string& token_file) {
  if (global.json()) {
    control::SubmitJobResponse shown;  // without the token
    shown.set_job_id(job);
    std::fputs(ToJson(shown, JsonForm::kOneLine).c_str(), stdout);
  } else {
    std::printf("job %s\n", job.c_str());
    if (!token_file.empty()) std::printf("token %s\n", token_file.c_str());
  }
  std::fflush(stdout);
}

// No launcher: people start the workers with the token's file.
absl::StatusOr<int> RunByHand(const GlobalOptions& global,
                              const SubmitOptions& options,
                              CoordinatorClient& client,
                              const control::SubmitJobResponse& job) {
  std::string token_file = options.token_file;
  if (token_file.empty()) token_file = absl::StrCat(job.job_id(), ".token");
  ASSIGN_OR_RETURN(
      const std::string written,
      WriteTokenFile(
          std::filesystem::absolute(token_file).parent_path().string(),
          job.token()));
  if (std::rename(written.c_str(), token_file.c_str()) != 0) {
    unlink(written.c_str());
    return absl::InvalidArgumentError(
        absl::StrCat("cannot write '", token_file, "'"));
  }
  ShowSubmitted(global, job.job_id(), token_file);
  if (!options.wait) return 0;
  FollowOptions follow;
  follow.job_id = job.job_id();
  follow.json = global.json();
  follow.live = LiveTerminal();
  follow.events_file = options.events_file;
  follow.cancel_on_signal = true;
  ASSIGN_OR_RETURN(const control::JobStatus last, FollowJob(client, follow));
  return ResultCode(last);
}

absl::StatusOr<int> RunUnderMpirun(const GlobalOptions& global,
                                   const SubmitOptions& options,
                                   CoordinatorClient& client,
                                   const control::SubmitJobResponse& job) {
  // Other hosts see the folder that the job is run in, not our /tmp.
  const std::string folder =
      options.hostfile.empty() ? std::filesystem::temp_directory_path().string()
                               : std::filesystem::current_path().string();
  ASSIGN_OR_RETURN(const std::string token_path,
                   WriteTokenFile(folder, job.token()));
  const TokenFile token(token_path);
  LaunchOptions launch;
  ASSIGN_OR_RETURN(launch.worker_binary,
                   FindWorkerBinary(options.worker_binary));
  launch.job_id = job.job_id();
  launch.coordinator = client.address();
  launch.token_file = token.path();
  launch.workers = options.workers;
  launch.hostfile = options.hostfile;
  launch.log_file = options.log_file;
  launch.detached = options.detach;
  if (launch.detached && launch.log_file.empty())
    launch.log_file = absl::StrCat(job.job_id(), ".log");
  if (!options.worker_config.empty())
    launch.worker_args.push_back(
        absl::StrCat("--config=", options.worker_config));
  ASSIGN_OR_RETURN(const std::unique_ptr<Launcher> launcher,
                   Launcher::Start(launch));
  ShowSubmitted(global, job.job_id(), "");

  FollowOptions follow;
  follow.job_id = job.job_id();
  follow.json = global.json();
  // Without a log the workers' lines are what is shown.
  follow.quiet = launch.log_file.empty();
  follow.live = LiveTerminal();
  follow.events_file = options.events_file;
  follow.cancel_on_signal = true;
  follow.until_running = options.detach;
  follow.launcher = launcher.get();
  if (options.dead_workers == "wait") follow.restarts = options.restarts;
  if (options.join_wait > 0) follow.join_wait = absl::Seconds(options.join_wait);
  std::vector<std::unique_ptr<Launcher>> more;
  follow.launch_more = [&launch, &more](int workers) -> absl::Status {
    LaunchOptions again = launch;
    again.workers = workers;
    again.worker_args.push_back("--set=join=true");
    if (!again.log_file.empty())
      absl::StrAppend(&again.log_file, ".", more.size() + 1);
    ASSIGN_OR_RETURN(std::unique_ptr<Launcher> started, Launcher::Start(again));
    more.push_back(std::move(started));
    return absl::OkStatus();
  };
  const absl::StatusOr<control::JobStatus> last = FollowJob(client, follow);
  if (absl::IsCancelled(last.status())) {
    std::fprintf(stderr, "psctl: %s\n",
                 std::string(last.status().message()).c_str());
    return kExitInterrupted;  // the launcher's destructor takes all down
  }
  if (!last.ok()) return last.status();
  if (options.detach && last->state() == control::JOB_RUNNING) {
    launcher->Release();
    return 0;
  }
  launcher->Finish(absl::Seconds(30));
  for (const auto& each : more) each->Finish(absl::Seconds(30));
  if (!global.json() && last->state() == control::JOB_SUCCEEDED)
    std::printf("%s\n", ResultLine(*last).c_str());
  return ResultCode(*last);
}

}  // namespace

void AddSubmitFlags(SubmitOptions* o, FlagSet* flags) {
  flags->Add("solver", &o->solver, "solver prototxt; its nets are sent along");
  flags->Add("tables", &o->tables,
             "instead of a solver, for your own programs: NAME:ROWSxWIDTH"
             "[:sparse=ROWS][:s=CLOCKS],...");
  flags->Add("name", &o->name, "of the job; default: the net's");
  flags->Add("request_id", &o->request_id, "submitting it twice is one job");
  flags->Add("workers", &o->workers, "number of workers");
  flags->Add("staleness", &o->staleness,
             "clocks that a read may be behind; -1: only max_ahead bounds them");
  flags->Add("ssp_update", &o->ssp_update, "per_clock or per_push");
  flags->Add("async", &o->async, "short for ssp_update per_push, staleness -1");
  flags->Add("max_ahead", &o->max_ahead,
             "clocks ahead of the slowest, whatever the staleness; 0: default");
  flags->Add("lazy_pull", &o->lazy_pull,
             "values are pulled when they are needed, not sent at once");
  flags->Add("lookahead", &o->lookahead,
             "late readers get what momentum predicts (SGD, Nesterov)");
  flags->Add("staleness_lr", &o->staleness_lr,
             "rate by observed staleness t: none, inv (1/t) or sqrt");
  flags->Add("fresh_wait", &o->fresh_wait,
             "share of the median clock to wait for fresh values");
  flags->Add("seed", &o->seed, "where the solver has no random_seed");
  flags->Add("chunk_bytes", &o->chunk_bytes,
             "16384..4194304; 0: by the model's size, at most 512 KiB");
  flags->Add("threads", &o->threads, "per worker; 0: cores / ranks");
  flags->Add("global_batch", &o->global_batch,
             "batch_size is divided by the workers");
  flags->Add("max_workers", &o->max_workers,
             "to how many psctl scale may raise them; 0: workers");
  flags->Add("dssp", &o->dssp,
             "LOWER:UPPER: staleness follows the workers' clock times");
  flags->Add("stall_seconds", &o->stall_seconds,
             "name who holds others back for so long; 0: 10 s or 20 clocks");
  flags->Add("backup", &o->backup,
             "backup workers: a clock is the mean of the first workers - N");
  flags->Add("wire", &o->wire,
             "how gradients travel: FP32, or BF16 in half the bytes");
  flags->Add("balance", &o->balance,
             "batches by measured speed: slow workers take fewer records, fast "
             "ones more");
  flags->Add("straggler", &o->straggler,
             "test aid: RANK:FACTOR, rotating:, random: or exponential:FACTOR, "
             "[@MS]");
  flags->Add("resume", &o->resume, "checkpoint JOB/CLOCK to go on from");
  flags->Add("weights", &o->weights, ".caffemodel files, comma-separated");
  flags->Add("snapshot", &o->snapshot, ".solverstate to go on from");
  flags->Add("dead_workers", &o->dead_workers,
             "continue without them, or wait for their restart");
  flags->Add("restarts", &o->restarts,
             "how often each dead worker is started again (wait, mpirun)");
  flags->Add("join_wait", &o->join_wait,
             "seconds after which a worker that has not joined is given up "
             "(mpirun)");
  flags->Add("durability", &o->durability,
             "what a server's death leaves: CHECKPOINT or LOG");
  flags->Add("checkpoint_clocks", &o->checkpoint_clocks,
             "a checkpoint every so many clocks, beside the snapshots");
  flags->Add("checkpoint_seconds", &o->checkpoint_seconds,
             "and every so many seconds; 0: the coordinator's default");
  flags->Add("keep_checkpoints", &o->keep_checkpoints,
             "how many are kept; 0: the coordinator's default");
  flags->Add("launch", &o->launch, "mpirun, or none: start workers yourself");
  flags->Add("worker_binary", &o->worker_binary,
             "caffe-worker; default: beside psctl");
  flags->Add("worker_config", &o->worker_config, "WorkerConfig for them");
  flags->Add("hostfile", &o->hostfile, "mpirun's list of hosts");
  flags->Add("token_file", &o->token_file,
             "launch none: where the job's token goes");
  flags->Add("job_file", &o->job_file, "the job's id is written here");
  flags->Add("log", &o->log_file, "the workers' output goes here");
  flags->Add("events", &o->events_file, "every event, a line of JSON each");
  flags->Add("detach", &o->detach, "return once the job runs");
  flags->Add("wait", &o->wait, "launch none: follow the job to its end");
}

namespace {

absl::Status ParseDssp(const std::string& text, control::JobSpec* spec) {
  if (text.empty()) return absl::OkStatus();
  const std::pair<std::string, std::string> bounds =
      absl::StrSplit(text, absl::MaxSplits(':', 1));
  int32_t lower = 0, upper = 0;
  if (!absl::SimpleAtoi(bounds.first, &lower) ||
      !absl::SimpleAtoi(bounds.second, &upper))
    return absl::InvalidArgumentError(
        absl::StrCat("--dssp is LOWER:UPPER, not '", text, "'"));
  spec->mutable_dssp()->set_lower(lower);
  spec->mutable_dssp()->set_upper(upper);
  // Begins as fresh as it may be, unless told otherwise.
  spec->set_staleness(std::clamp(spec->staleness(), lower,
                                 std::max(lower, upper)));
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<control::JobSpec> MakeJobSpec(const SubmitOptions& options) {
  if (options.solver.empty() == options.tables.empty())
    return absl::InvalidArgumentError(
        options.solver.empty()
            ? "no solver: give --solver FILE"
            : "--solver and --tables: a job has one of them");
  control::JobSpec spec;
  if (options.tables.empty()) {
    ASSIGN_OR_RETURN(*spec.mutable_solver(), ReadSolver(options.solver));
    RETURN_IF_ERROR(InlineNets(options.solver, spec.mutable_solver()));
    spec.set_python_layers(HasPythonLayers(spec.solver()));
  } else {
    RETURN_IF_ERROR(ParseTables(options.tables, &spec));
  }
  RETURN_IF_ERROR(SetConsistency(options, &spec));
  spec.set_name(options.name);
  spec.set_request_id(options.request_id);
  spec.set_workers(options.workers);
  spec.set_seed(options.seed);
  spec.set_chunk_bytes(options.chunk_bytes);
  spec.set_threads(options.threads);
  spec.set_global_batch(options.global_batch);
  spec.set_backup(options.backup);
  spec.set_balance(options.balance);
  spec.set_max_workers(options.max_workers);
  spec.set_stall_seconds(options.stall_seconds);
  RETURN_IF_ERROR(ParseDssp(options.dssp, &spec));
  spec.set_straggler(options.straggler);
  spec.set_resume_checkpoint(options.resume);
  spec.set_solver_path(options.solver);
  ASSIGN_OR_RETURN(const std::string weights,
                   AbsoluteFiles("weights", options.weights));
  spec.set_weights_files(weights);
  ASSIGN_OR_RETURN(const std::string snapshot,
                   AbsoluteFiles("snapshot", options.snapshot));
  spec.set_snapshot_file(snapshot);
  RETURN_IF_ERROR(ParseRecovery(options, &spec));
  return spec;
}

absl::StatusOr<int> Submit(const GlobalOptions& global,
                           const SubmitOptions& options) {
  RETURN_IF_ERROR(CheckOptions(options));
  control::SubmitJobRequest request;
  ASSIGN_OR_RETURN(*request.mutable_spec(), MakeJobSpec(options));
  if (options.launch == "mpirun")
    RETURN_IF_ERROR(FindWorkerBinary(options.worker_binary).status());
  BlockSignals();
  ASSIGN_OR_RETURN(const auto client, Connect(global));
  ASSIGN_OR_RETURN(const control::SubmitJobResponse job,
                   client->SubmitJob(std::move(request)));
  if (!options.job_file.empty())
    RETURN_IF_ERROR(
        WriteText(options.job_file, absl::StrCat(job.job_id(), "\n")));
  absl::StatusOr<int> code = options.launch == "mpirun"
                                 ? RunUnderMpirun(global, options, *client, job)
                                 : RunByHand(global, options, *client, job);
  // A job that could not be launched would wait for its workers for ever.
  if (!code.ok()) client->CancelJob(job.job_id()).status().IgnoreError();
  return code;
}

}  // namespace cssp
