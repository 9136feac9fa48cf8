#include "server/coordinator/job_spec.h"

#include <sys/random.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <set>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "common/base/logging.h"
#include "common/base/status_macros.h"
#include "common/optim/chunk_update.h"
#include "common/optim/learning_rate_policy.h"
#include "common/optim/plateau.h"
#include "common/ps/consistency.h"
#include "common/ps/table_wire.h"

namespace cssp {
namespace {

using control::JobSpec;

absl::Status Bad(absl::string_view field, absl::string_view why) {
  return absl::InvalidArgumentError(absl::StrCat(field, ": ", why));
}

absl::Status CheckRange(absl::string_view field, int64_t value, int64_t low,
                        int64_t high) {
  if (value >= low && value <= high) return absl::OkStatus();
  return Bad(field, absl::StrCat(value, " is not in ", low, "..", high));
}

absl::Status CheckSolver(const caffe::SolverParameter& solver) {
  const int nets = solver.has_net_param() + solver.has_train_net_param();
  if (nets == 0 && (solver.has_net() || solver.has_train_net()))
    return Bad("solver", "its net is named but not inlined; submit with psctl");
  if (nets != 1)
    return Bad("solver", nets == 0 ? "no train net: set net, or train_net"
                                   : "two train nets: set net or train_net");
  if (solver.max_iter() < 1) return Bad("solver", "max_iter must be > 0");
  if (solver.iter_size() < 1) return Bad("solver", "iter_size must be > 0");
  if (solver.snapshot() < 0) return Bad("solver", "snapshot must be >= 0");
  const absl::StatusOr<LearningRatePolicy> policy =
      LearningRatePolicy::Create(solver);
  RETURN_IF_ERROR(Annotate(policy.status(), "solver"));
  if (policy->follows_loss())
    RETURN_IF_ERROR(PlateauTracker::Create(solver).status());
  return Annotate(ChunkUpdate::Create(solver).status(), "solver");
}

constexpr int kMaxTables = 64;
constexpr int kMaxTableStaleness = 1024;

absl::Status CheckTables(const JobSpec& spec) {
  RETURN_IF_ERROR(
      CheckRange("number of tables", spec.tables_size(), 1, kMaxTables));
  const caffe::SolverParameter& solver = spec.solver();
  if (solver.has_net_param() || solver.has_train_net_param())
    return Bad("tables", "a job has tables or a net, not both");
  if (!spec.snapshot_file().empty() || !spec.weights_files().empty() ||
      !spec.straggler().empty())
    return Bad("tables", "they start from zero or from a checkpoint of tables: "
                         "no snapshot, weights, straggler");
  if (spec.wait_for_dead())
    return Bad("wait_for_dead",
               "a job of tables cannot wait for the dead: nobody knows how to "
               "make a program's increments again");
  std::set<std::string> names;
  for (const control::TableSpec& table : spec.tables()) {
    const std::string field =
        absl::StrCat("table '", absl::CEscape(table.name().substr(0, 64)), "'");
    RETURN_IF_ERROR(CheckRange(absl::StrCat(field, ": name's length"),
                               table.name().size(), 1, 64));
    if (!names.insert(table.name()).second) return Bad(field, "occurs twice");
    RETURN_IF_ERROR(CheckRange(absl::StrCat(field, ": rows"), table.rows(), 1,
                               int64_t{1} << 40));
    RETURN_IF_ERROR(CheckRange(absl::StrCat(field, ": width"), table.width(), 1,
                               ps::kMaxTableWidth));
    RETURN_IF_ERROR(CheckRange(absl::StrCat(field, ": sparse_rows"),
                               table.sparse_rows(), 0, table.rows()));
    RETURN_IF_ERROR(CheckRange(absl::StrCat(field, ": staleness"),
                               table.staleness(), 0, kMaxTableStaleness));
  }
  return absl::OkStatus();
}

absl::Status CheckStraggler(const JobSpec& spec) {
  if (spec.straggler().empty()) return absl::OkStatus();
  // WHO:FACTOR, or WHO:FACTOR@MS
  const std::vector<std::string> parts = absl::StrSplit(spec.straggler(), ':');
  const std::vector<std::string> amount =
      absl::StrSplit(parts.back(), absl::MaxSplits('@', 1));
  double factor = 0;
  double base_ms = 1;
  int rank = 0;
  const bool well_formed =
      parts.size() == 2 && absl::SimpleAtod(amount[0], &factor) &&
      std::isfinite(factor) && factor >= 1 && factor <= 1000 &&
      (amount.size() == 1 || (absl::SimpleAtod(amount[1], &base_ms) &&
                              base_ms > 0 && base_ms <= 60000)) &&
      (parts[0] == "rotating" || parts[0] == "random" ||
       parts[0] == "exponential" ||
       (absl::SimpleAtoi(parts[0], &rank) && rank >= 0 &&
        rank < spec.workers()));
  if (well_formed) return absl::OkStatus();
  return Bad("straggler",
             absl::StrCat("'", absl::CEscape(spec.straggler()),
                          "' is not RANK:FACTOR, rotating:, random: or "
                          "exponential:FACTOR, with @MS or without, RANK < ",
                          spec.workers(), " and FACTOR 1..1000"));
}

absl::Status CheckBackup(const JobSpec& spec) {
  if (spec.backup() == 0) return absl::OkStatus();
  RETURN_IF_ERROR(CheckRange("backup", spec.backup(), 0, spec.workers() - 1));
  if (spec.ssp_update() != control::PER_CLOCK)
    return Bad("backup", "only PER_CLOCK has clocks to leave someone out of");
  if (spec.tables_size() > 0)
    return Bad("backup", "tables take every worker's increments");
  if (spec.solver().lr_policy() == "plateau")
    return Bad("backup", "lr_policy plateau follows every worker's loss");
  return absl::OkStatus();
}

absl::Status CheckBalance(const JobSpec& spec) {
  if (!spec.balance()) return absl::OkStatus();
  if (spec.ssp_update() != control::PER_CLOCK || spec.tables_size() > 0)
    return Bad("balance", "it is for jobs that train a net PER_CLOCK");
  if (spec.backup() > 0)
    return Bad("balance", "it makes workers equally fast, backup leaves some "
                          "out of each clock: one or the other");
  return absl::OkStatus();
}

absl::Status CheckElastic(const JobSpec& spec) {
  if (spec.max_workers() != 0)
    RETURN_IF_ERROR(CheckRange("max_workers", spec.max_workers(),
                               spec.workers(), kMaxWorkers));
  if (spec.max_workers() > spec.workers() &&
      (spec.ssp_update() != control::PER_CLOCK || spec.tables_size() > 0))
    return Bad("max_workers", "workers join jobs that train a net PER_CLOCK");
  if (!std::isfinite(spec.stall_seconds()) || spec.stall_seconds() < 0)
    return Bad("stall_seconds", "must be 0 or more");
  if (!spec.has_dssp()) return absl::OkStatus();
  RETURN_IF_ERROR(
      CheckRange("dssp's lower", spec.dssp().lower(), 0, kMaxStaleness));
  RETURN_IF_ERROR(CheckRange("dssp's upper", spec.dssp().upper(),
                             spec.dssp().lower(), kMaxStaleness));
  RETURN_IF_ERROR(CheckRange("staleness with dssp", spec.staleness(),
                             spec.dssp().lower(), spec.dssp().upper()));
  if (spec.ssp_update() != control::PER_CLOCK || spec.tables_size() > 0)
    return Bad("dssp", "it is for jobs that train a net PER_CLOCK");
  return absl::OkStatus();
}

absl::Status CheckStart(const JobSpec& spec) {
  const int starts = !spec.resume_checkpoint().empty() +
                     !spec.snapshot_file().empty() +
                     !spec.weights_files().empty();
  if (starts <= 1) return absl::OkStatus();
  return Bad("resume, snapshot, weights",
             "a job starts from one of them, not from several");
}

std::string DescribeTable(const control::TableSpec& table) {
  return absl::StrCat("'", absl::CEscape(table.name().substr(0, 64)), "' of ",
                      table.rows(), "x", table.width(),
                      table.sparse_rows() > 0 ? ", sparse" : "");
}

std::string DescribeBlob(const ps::BlobSpec& blob) {
  return absl::StrCat(blob.key, " (", absl::StrJoin(blob.shape, "x"),
                      ", lr_mult ", blob.lr_mult, ", decay_mult ",
                      blob.decay_mult, blob.statistic ? ", statistic)" : ")");
}

bool SameBlob(const ps::BlobSpec& a, const ps::BlobSpec& b) {
  return a.key == b.key && a.shape == b.shape && a.count == b.count &&
         a.lr_mult == b.lr_mult && a.decay_mult == b.decay_mult &&
         a.statistic == b.statistic &&
         a.moving_average_fraction == b.moving_average_fraction;
}

absl::Status CheckConsistency(const JobSpec& spec) {
  const bool per_push = spec.ssp_update() == control::PER_PUSH;
  if (!per_push && spec.ssp_update() != control::PER_CLOCK)
    return Bad("ssp_update", "known are PER_CLOCK and PER_PUSH");
  RETURN_IF_ERROR(CheckRange("staleness", spec.staleness(), ps::kAsync,
                             kMaxStaleness));
  if (spec.staleness() == ps::kAsync && !per_push)
    return Bad("staleness",
               "-1 (no bound but max_ahead) needs ssp_update PER_PUSH");
  RETURN_IF_ERROR(CheckRange("max_ahead", spec.max_ahead(), 0, kMaxStaleness));
  if (spec.max_ahead() > 0 && spec.max_ahead() < spec.staleness())
    return Bad("max_ahead", absl::StrCat(spec.max_ahead(),
                                         " is less than the staleness, ",
                                         spec.staleness()));
  if (!control::StalenessLr_IsValid(spec.staleness_lr()))
    return Bad("staleness_lr", "known are NONE, INV and SQRT");
  if (spec.tables_size() > 0) {
    if (spec.staleness() < 0 || per_push || spec.lookahead())
      return Bad("tables", "they have a staleness of 0 or more, and no "
                           "ssp_update or lookahead");
    return absl::OkStatus();
  }
  if (!per_push && !spec.lookahead()) return absl::OkStatus();
  auto made = ChunkUpdate::Create(spec.solver());
  RETURN_IF_ERROR(Annotate(made.status(), "solver"));
  const std::unique_ptr<ChunkUpdate> update = *std::move(made);
  if (spec.lookahead() && !update->rule().linear())
    return Bad("lookahead", absl::StrCat("it predicts by momentum: SGD or "
                                         "Nesterov, not ",
                                         update->rule().type()));
  if (!per_push) return absl::OkStatus();
  RETURN_IF_ERROR(Annotate(update->CheckSeparable(), "solver"));
  if (spec.solver().lr_policy() == "plateau")
    return Bad("solver", "lr_policy plateau follows a clock's mean loss, which "
                         "ssp_update PER_PUSH does not have");
  return absl::OkStatus();
}

void RandomBytes(void* out, size_t size) {
  CHECK_EQ(getrandom(out, size, 0), static_cast<ssize_t>(size))
      << "the kernel gives up to 256 random bytes whole";
}

}  // namespace

absl::Status ValidateJobSpec(const JobSpec& spec) {
  RETURN_IF_ERROR(CheckRange("workers", spec.workers(), 1, kMaxWorkers));
  RETURN_IF_ERROR(CheckConsistency(spec));
  if (!std::isfinite(spec.fresh_wait()) || spec.fresh_wait() < 0 ||
      spec.fresh_wait() > 100)
    return Bad("fresh_wait", absl::StrCat(spec.fresh_wait(),
                                          " is not a share in 0..100"));
  if (spec.durability() != control::CHECKPOINT &&
      spec.durability() != control::LOG)
    return Bad("durability", "known are CHECKPOINT and LOG");
  if (!control::GradientWire_IsValid(spec.wire()))
    return Bad("wire", "known are FP32 and BF16");
  if (spec.wire() != control::FP32 && spec.tables_size() > 0)
    return Bad("wire", "tables have no gradients");
  if (spec.checkpoint_clocks() < 0)
    return Bad("checkpoint_clocks", "must be >= 0");
  if (!std::isfinite(spec.checkpoint_seconds()) ||
      spec.checkpoint_seconds() < 0)
    return Bad("checkpoint_seconds", "must be >= 0");
  RETURN_IF_ERROR(CheckRange("keep_checkpoints", spec.keep_checkpoints(), 0,
                             1000));
  if (spec.chunk_bytes() != 0)
    RETURN_IF_ERROR(CheckRange("chunk_bytes", spec.chunk_bytes(),
                               ps::SlabLayout::kBlock * 4, 4 << 20));
  RETURN_IF_ERROR(CheckRange("threads", spec.threads(), 0, 4096));
  RETURN_IF_ERROR(CheckRange("name's length", spec.name().size(), 0, 256));
  RETURN_IF_ERROR(
      CheckRange("request_id's length", spec.request_id().size(), 0, 128));
  RETURN_IF_ERROR(CheckStraggler(spec));
  RETURN_IF_ERROR(CheckBackup(spec));
  RETURN_IF_ERROR(CheckBalance(spec));
  RETURN_IF_ERROR(CheckElastic(spec));
  RETURN_IF_ERROR(CheckStart(spec));
  return spec.tables_size() > 0 ? CheckTables(spec)
                                : CheckSolver(spec.solver());
}

absl::Status CheckSameTables(const JobSpec& spec, const JobSpec& before) {
  if (spec.tables_size() != before.tables_size())
    return Bad("resume", absl::StrCat("the checkpoint has ",
                                      before.tables_size(),
                                      " tables, the job ", spec.tables_size()));
  for (int i = 0; i < spec.tables_size(); ++i) {
    const control::TableSpec& now = spec.tables(i);
    const control::TableSpec& then = before.tables(i);
    if (now.name() == then.name() && now.rows() == then.rows() &&
        now.width() == then.width() &&
        (now.sparse_rows() > 0) == (then.sparse_rows() > 0))
      continue;
    return Bad("resume", absl::StrCat("table ", i, " is ", DescribeTable(now),
                                      ", in the checkpoint ",
                                      DescribeTable(then)));
  }
  return absl::OkStatus();
}

int MaxWorkers(const JobSpec& spec) {
  return std::max(spec.workers(), spec.max_workers());
}

bool MayJoinLater(const JobSpec& spec) {
  return spec.ssp_update() == control::PER_CLOCK && spec.tables_size() == 0 &&
         !spec.wait_for_dead();
}

bool IsSnapshot(const JobSpec& spec, int64_t clock) {
  const caffe::SolverParameter& solver = spec.solver();
  return (solver.snapshot() > 0 && clock % solver.snapshot() == 0) ||
         (solver.snapshot_after_train() && clock == solver.max_iter());
}

JobSpec NormalisedSpec(JobSpec spec) {
  if (spec.tables_size() == 0) {
    spec.set_max_ahead(ps::BoundsOf(spec).max_ahead);
    spec.set_staleness_lr(ps::StalenessLrOf(spec));
    return spec;
  }
  caffe::SolverParameter& solver = *spec.mutable_solver();
  solver.Clear();
  solver.set_base_lr(1);
  solver.set_lr_policy("fixed");
  solver.set_max_iter(std::numeric_limits<int32_t>::max());
  solver.set_snapshot_after_train(false);
  return spec;
}

std::string MakeJobId(absl::string_view name, uint32_t number) {
  std::string id;
  for (const char c : name) {
    if (absl::ascii_isalnum(c)) id += absl::ascii_tolower(c);
    else if (!id.empty() && id.back() != '-') id += '-';
    if (id.size() == 48) break;
  }
  while (!id.empty() && id.back() == '-') id.pop_back();
  if (id.empty()) id = "job";
  return absl::StrCat(id, "-", number);
}

std::string MakeToken() {
  std::string bytes(32, '\0');
  RandomBytes(bytes.data(), bytes.size());
  return absl::BytesToHexString(bytes);
}

bool TokensEqual(absl::string_view a, absl::string_view b) {
  if (a.size() != b.size()) return false;
  unsigned char difference = 0;
  for (size_t i = 0; i < a.size(); ++i)
    difference |= static_cast<unsigned char>(a[i] ^ b[i]);
  return difference == 0;
}

int64_t DrawSeed() {
  uint32_t bits = 0;
  RandomBytes(&bits, sizeof(bits));
  return static_cast<int64_t>(bits >> 1) | 1;
}

int64_t DefaultChunkBytes(int64_t model_bytes, int num_servers) {
  constexpr int64_t kBlockBytes = ps::SlabLayout::kBlock * 4;
  constexpr int64_t kMost = 512 << 10, kLeast = 64 << 10;
  const auto ceiling = [](int64_t a, int64_t b) { return (a + b - 1) / b; };
  const int64_t share = ceiling(model_bytes, std::max(num_servers, 1));
  // Two at least: one is applied while the other is on its way.
  const int64_t parts = std::max(int64_t{2}, ceiling(share, kMost));
  const int64_t whole =
      ceiling(ceiling(share, parts), kBlockBytes) * kBlockBytes;
  return std::clamp(whole, kLeast, kMost);
}

std::string DescribeDifference(const ps::SlabLayout& first,
                               const ps::SlabLayout& second,
                               absl::string_view a, absl::string_view b) {
  const size_t common = std::min(first.blobs().size(), second.blobs().size());
  for (size_t i = 0; i < common; ++i)
    if (!SameBlob(first.blobs()[i], second.blobs()[i]))
      return absl::StrCat("parameter ", i, " is ",
                          DescribeBlob(first.blobs()[i]), " on ", a, " but ",
                          DescribeBlob(second.blobs()[i]), " on ", b);
  if (first.blobs().size() == second.blobs().size()) return "";
  const bool more = first.blobs().size() > common;
  const ps::SlabLayout& longer = more ? first : second;
  return absl::StrCat("parameter ", common, ", ",
                      DescribeBlob(longer.blobs()[common]), ", is on ",
                      more ? a : b, " only");
}

JobSpec WithoutNets(const JobSpec& spec) {
  JobSpec copy = spec;
  copy.mutable_solver()->clear_net_param();
  copy.mutable_solver()->clear_train_net_param();
  copy.mutable_solver()->clear_test_net_param();
  return copy;
}

bool IsTerminal(control::JobState state) {
  return state == control::JOB_SUCCEEDED || state == control::JOB_FAILED ||
         state == control::JOB_CANCELLED;
}

std::string StateName(control::JobState state) {
  std::string name = control::JobState_Name(state);
  if (name.rfind("JOB_", 0) == 0) name = name.substr(4);
  return absl::AsciiStrToLower(name);
}

}  // namespace cssp
