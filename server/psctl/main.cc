// psctl: submits and administers jobs.
#include <signal.h>

#include <cstdio>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/base/logging.h"
#include "common/base/status_macros.h"
#include "common/config/flag_set.h"
#include "server/psctl/commands.h"
#include "server/psctl/submit.h"

namespace cssp {
namespace {

constexpr char kUsage[] =
    "usage: psctl [--coordinator HOST:PORT] [-o table|json] COMMAND ...\n"
    "  submit --solver FILE   start a job (psctl submit --help)\n"
    "  list                   all jobs\n"
    "  describe JOB           one job: workers, tests, checkpoints\n"
    "  watch JOB              follow a job to its end\n"
    "  cancel JOB             stop after the present clock\n"
    "  checkpoint JOB         write a checkpoint now\n"
    "  set JOB staleness N    change the bound while the job runs\n"
    "  scale JOB N            train with N workers from now on\n"
    "  drain-worker JOB RANK  let a worker go after its clock\n"
    "  servers                the ps-servers\n"
    "example: psctl submit --solver examples/mnist/lenet_solver.prototxt "
    "--workers 4 --launch mpirun";

const std::vector<std::string>& Verbs() {
  static const auto& verbs = *new std::vector<std::string>{
      "submit", "list",  "describe",     "watch",  "cancel", "checkpoint",
      "set",    "scale", "drain-worker", "servers"};
  return verbs;
}

// Takes the first word that is neither a flag nor a global flag's value out of
// `args`; empty where there is none.
std::string TakeVerb(std::vector<std::string>* args) {
  for (size_t i = 0; i < args->size(); ++i) {
    const std::string& arg = (*args)[i];
    if (arg == "-o" || arg == "--o" || arg == "-coordinator" ||
        arg == "--coordinator") {
      ++i;
    } else if (!absl::StartsWith(arg, "-")) {
      const std::string verb = arg;
      args->erase(args->begin() + static_cast<std::ptrdiff_t>(i));
      return verb;
    }
  }
  return "";
}

absl::Status UnknownVerb(const std::string& verb) {
  const std::string nearest = NearestName(verb, Verbs());
  return absl::InvalidArgumentError(absl::StrCat(
      "unknown command '", verb, "'",
      nearest.empty() ? absl::StrCat("; known are ",
                                     absl::StrJoin(Verbs(), ", "))
                      : absl::StrCat("; did you mean ", nearest, "?")));
}

// Words that a command takes after its name.
std::vector<std::string> WordsOf(const std::string& verb) {
  if (verb == "submit" || verb == "list" || verb == "servers") return {};
  if (verb == "set") return {"JOB", "staleness", "N"};
  if (verb == "scale") return {"JOB", "N"};
  if (verb == "drain-worker") return {"JOB", "RANK"};
  return {"JOB"};
}

absl::StatusOr<int> RunOnJob(const std::string& verb,
                             const GlobalOptions& global,
                             const std::vector<std::string>& words,
                             double timeout) {
  const std::string& job = words[0];
  if (verb == "set") return Set(global, job, words[1], words[2]);
  if (verb == "scale") return Scale(global, job, words[1]);
  if (verb == "drain-worker") return DrainWorker(global, job, words[1]);
  if (verb == "describe") return Describe(global, job);
  if (verb == "watch") return Watch(global, job);
  if (verb == "cancel") return Cancel(global, job);
  return Checkpoint(global, job, timeout);
}

absl::StatusOr<int> Run(std::vector<std::string> args) {
  const std::string verb = TakeVerb(&args);
  if (verb.empty() && args.size() == 1 && absl::StrContains(args[0], "version")) {
    std::puts("psctl (Caffe-SSP) 0.1.0");
    return 0;
  }
  if (verb.empty() || verb == "help") {
    std::puts(kUsage);
    const bool asked = verb == "help" ||
                       (args.size() == 1 && absl::StrContains(args[0], "help"));
    if (asked) return 0;
    return absl::InvalidArgumentError("no command given");
  }
  if (NearestName(verb, Verbs()) != verb) return UnknownVerb(verb);

  GlobalOptions global;
  SubmitOptions submit;
  double timeout = 600;
  bool help = false;
  const std::vector<std::string> words = WordsOf(verb);
  const std::string usage = absl::StrJoin(words, " ");
  FlagSet flags(absl::StrCat("usage: psctl ", verb, words.empty() ? "" : " ",
                             usage, " [flags]"));
  AddGlobalFlags(&global, &flags);
  flags.Add("help", &help, "print this");
  if (verb == "submit") AddSubmitFlags(&submit, &flags);
  if (verb == "checkpoint")
    flags.Add("timeout", &timeout, "seconds to wait for it to be durable");
  ASSIGN_OR_RETURN(const std::vector<std::string> rest,
                   flags.Parse(std::move(args)));
  if (help) {
    std::fputs(flags.Help().c_str(), stdout);
    return 0;
  }
  if (rest.size() < words.size())
    return absl::InvalidArgumentError(
        rest.empty() ? absl::StrCat("psctl ", verb, " needs a JOB; psctl list")
                     : absl::StrCat("psctl ", verb, " needs ", usage));
  if (rest.size() > words.size())
    return absl::InvalidArgumentError(
        absl::StrCat("unexpected argument '", rest[words.size()], "'"));
  RETURN_IF_ERROR(CheckGlobal(&global));
  if (verb == "submit") return Submit(global, submit);
  if (verb == "list") return List(global);
  if (verb == "servers") return Servers(global);
  return RunOnJob(verb, global, rest, timeout);
}

}  // namespace
}  // namespace cssp

int main(int argc, char** argv) {
  cssp::InitLogging(argv[0]);
  signal(SIGPIPE, SIG_DFL);
  const absl::StatusOr<int> code =
      cssp::Run(std::vector<std::string>(argv + 1, argv + argc));
  return code.ok() ? *code : cssp::ExitCodeFor("psctl", code.status());
}
