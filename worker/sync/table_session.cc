#include "worker/sync/table_session.h"

#include <unistd.h>

#include <algorithm>
#include <utility>

#include "absl/memory/memory.h"
#include "absl/strings/str_cat.h"
#include "common/base/logging.h"
#include "common/base/status_macros.h"
#include "worker/sync/job_links.h"

namespace cssp {
namespace {

constexpr absl::Duration kTickGrace = absl::Seconds(30);
// Increments under way before Clock waits for the servers to take some.
constexpr int64_t kMaxIncsOut = 256;

std::string HostName() {
  char name[256] = {};
  return gethostname(name, sizeof(name) - 1) == 0 ? name : "unknown";
}

}  // namespace

absl::StatusOr<std::unique_ptr<TableSession>> TableSession::Join(
    const TableSessionOptions& options) {
  auto tables = absl::WrapUnique(new TableSession(options));
  JobSessionOptions session;
  session.coordinator = options.coordinator;
  session.job = options.job;
  session.token = options.token;
  session.rank = options.rank;
  session.host = HostName();
  session.pid = getpid();
  ASSIGN_OR_RETURN(tables->session_, JobSession::Join(session));
  if (tables->num_tables() == 0) {
    return absl::FailedPreconditionError(
        absl::StrCat("job ", options.job, " trains a net and has no tables"));
  }
  RETURN_IF_ERROR(tables->Start());
  return tables;
}

TableSession::~TableSession() {
  if (session_ != nullptr) session_->Unwatch();
  ticks_.clear();  // their threads call Fail
  if (client_ != nullptr) client_->Stop();
}

absl::Status TableSession::Start() {
  ASSIGN_OR_RETURN(const control::DeclareLayoutResponse declared,
                   session_->Declare({}, 0, 0));
  const control::ShardMap& map = declared.shard_map();
  {
    absl::MutexLock lock(&mu_);
    for (int i = 0; i < num_tables(); ++i) {
      tables_.emplace_back(
          ps::TableClient::Options{.table = static_cast<uint32_t>(i),
                                   .width = width(i),
                                   .servers = map.servers_size(),
                                   .rank = rank(),
                                   .staleness = staleness()});
    }
  }
  PsClientOptions client = DataPlaneOptions(*session_, map);
  client.subscribe = false;
  client.transport = options_.transport;
  client_ = std::make_unique<PsClient>(std::move(client),
                                       static_cast<PsClientEvents&>(*this));
  RETURN_IF_ERROR(client_->Start());
  session_->Watch([this](absl::Status status) { Fail(status); },
                  [](const control::Order&) {});
  return OpenTickStreams(
      map, [this](const absl::Status& status) { Fail(status); }, &shards_,
      &ticks_);
}

absl::StatusOr<int> TableSession::FindTable(absl::string_view name) const {
  std::string known;
  for (int i = 0; i < num_tables(); ++i) {
    const std::string& each = session_->spec().tables(i).name();
    if (each == name) return i;
    absl::StrAppend(&known, i == 0 ? "" : ", ", each);
  }
  return absl::NotFoundError(
      absl::StrCat("no table '", name, "'; the job has ", known));
}

absl::Status TableSession::CheckRow(int table, int64_t row,
                                    size_t floats) const {
  if (table < 0 || table >= num_tables() || row < 0 || row >= rows(table)) {
    return absl::InvalidArgumentError(
        absl::StrCat("row ", row, " of table ", table, " does not exist"));
  }
  if (floats == static_cast<size_t>(width(table))) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("table '", session_->spec().tables(table).name(),
                   "' has rows of ", width(table), " floats, not ", floats));
}

absl::Status TableSession::Get(int table, int64_t row, absl::Span<float> out) {
  RETURN_IF_ERROR(CheckRow(table, row, out.size()));
  const absl::Time deadline = absl::Now() + options_.timeout;
  absl::MutexLock lock(&mu_);
  while (true) {
    RETURN_IF_ERROR(failure_);
    ps::TableClient& client = tables_[table];
    if (const std::vector<float>* values = client.Get(row)) {
      std::copy(values->begin(), values->end(), out.begin());
      return absl::OkStatus();
    }
    client_->SendGet(client.ServerOf(row), client.Fetch(row));
    const uint64_t before = arrivals_;
    const auto changed = [&]() ABSL_SHARED_LOCKS_REQUIRED(mu_) {
      return arrivals_ != before || !failure_.ok();
    };
    if (!mu_.AwaitWithDeadline(absl::Condition(&changed), deadline)) {
      return absl::DeadlineExceededError(absl::StrCat(
          "row ", row, " of table ", table, " in clock ", clock_,
          ": the slowest worker is more than ", staleness(),
          " clocks behind for ", absl::FormatDuration(options_.timeout)));
    }
  }
}

absl::Status TableSession::Inc(int table, int64_t row,
                               absl::Span<const float> delta) {
  RETURN_IF_ERROR(CheckRow(table, row, delta.size()));
  absl::MutexLock lock(&mu_);
  RETURN_IF_ERROR(failure_);
  for (size_t i = 0; i < delta.size(); ++i) {
    if (delta[i] != 0) tables_[table].Inc(row, static_cast<int>(i), delta[i]);
  }
  return absl::OkStatus();
}

absl::Status TableSession::Clock() {
  {
    absl::MutexLock lock(&mu_);
    RETURN_IF_ERROR(failure_);
    for (ps::TableClient& table : tables_) {
      for (const ps::TableClient::Outgoing& out : table.Tick()) {
        ++incs_out_;
        client_->SendInc(out.server, out.inc);
      }
    }
    const auto room = [&]() ABSL_SHARED_LOCKS_REQUIRED(mu_) {
      return incs_out_ < kMaxIncsOut || !failure_.ok();
    };
    mu_.Await(absl::Condition(&room));
    RETURN_IF_ERROR(failure_);
  }
  RETURN_IF_ERROR(SendTicks(/*finished=*/false));
  control::WorkerReport report;
  report.mutable_clock()->set_clock(clock_);
  session_->Report(std::move(report));
  ++clock_;
  return absl::OkStatus();
}

absl::Status TableSession::SendTicks(bool finished) {
  for (size_t server = 0; server < ticks_.size(); ++server) {
    control::Tick tick;
    tick.set_job_id(session_->job());
    tick.set_token(session_->joined().token());
    tick.set_rank(rank());
    tick.set_incarnation(session_->joined().incarnation());
    tick.set_clock(clock_);
    tick.set_finished(finished);
    {
      absl::MutexLock lock(&mu_);
      for (const ps::TableClient& table : tables_) {
        tick.add_table_incs(table.sent(static_cast<int>(server)));
      }
    }
    RETURN_IF_ERROR(
        Annotate(ticks_[server]->Send(std::move(tick)),
                 absl::StrCat("tick to ", shards_[server]->address())));
  }
  return absl::OkStatus();
}

absl::Status TableSession::Finish() {
  if (finished_) return absl::OkStatus();
  {
    absl::MutexLock lock(&mu_);
    const auto held = [&]() ABSL_SHARED_LOCKS_REQUIRED(mu_) {
      return incs_out_ == 0 || !failure_.ok();
    };
    if (!mu_.AwaitWithTimeout(absl::Condition(&held), options_.timeout)) {
      return absl::DeadlineExceededError(
          absl::StrCat(incs_out_, " increments are not held by their servers"));
    }
    RETURN_IF_ERROR(failure_);
  }
  RETURN_IF_ERROR(SendTicks(/*finished=*/true));
  for (size_t i = 0; i < ticks_.size(); ++i) {
    RETURN_IF_ERROR(
        Annotate(ticks_[i]->Close(kTickGrace),
                 absl::StrCat("last tick to ", shards_[i]->address())));
  }
  finished_ = true;
  session_->Leave("");
  return absl::OkStatus();
}

void TableSession::Fail(const absl::Status& status) {
  absl::MutexLock lock(&mu_);
  if (failure_.ok()) failure_ = status;
}

void TableSession::OnTableRows(int server, const ps::MessageHeader& header,
                               absl::Span<const uint8_t> body) {
  ps::TableRows rows;
  absl::MutexLock lock(&mu_);
  if (header.chunk >= tables_.size()) return;
  const int floats = width(static_cast<int>(header.chunk));
  if (const absl::Status read = ps::DecodeRows(body, floats, &rows);
      !read.ok()) {
    if (failure_.ok()) failure_ = read;
    return;
  }
  rows.table = header.chunk;
  rows.server = server;
  rows.row_clock = header.clock;
  tables_[header.chunk].OnRows(rows);
  ++arrivals_;
}

void TableSession::OnIncDone() {
  absl::MutexLock lock(&mu_);
  --incs_out_;
}

}  // namespace cssp
