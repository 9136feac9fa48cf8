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
constexpr int64_t kMaxIncsOut = 64;
constexpr int64_t kMinCachedRows = 16;
// How long a coordinator that cannot be reached is waited for.
constexpr absl::Duration kCoordinatorWait = absl::Minutes(1);
constexpr absl::Duration kRejoinPause = absl::Milliseconds(100);
// What a cached row costs beside its floats.
constexpr int64_t kRowOverhead = 128;

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
  session.coordinator_wait = kCoordinatorWait;
  ASSIGN_OR_RETURN(tables->session_, JobSession::Join(session));
  if (tables->num_tables() == 0) {
    return absl::FailedPreconditionError(
        absl::StrCat("job ", options.job, " trains a net and has no tables"));
  }
  RETURN_IF_ERROR(tables->Start());
  return tables;
}

TableSession::~TableSession() { Disconnect(); }

void TableSession::Disconnect() {
  if (session_ != nullptr) session_->Unwatch();
  for (size_t i = 0; i < ticks_.size(); ++i) {
    Trim(i);
    unanswered_[i].answered = 0;
  }
  ticks_.clear();  // their threads call Fail
  shards_.clear();
  if (client_ != nullptr) client_->Stop();
  client_.reset();
}

absl::Status TableSession::Start() {
  ASSIGN_OR_RETURN(const control::DeclareLayoutResponse declared,
                   session_->Declare({}, 0, 0));
  const control::ShardMap& map = declared.shard_map();
  clock_ = declared.start_clock();
  unanswered_.resize(map.servers_size());
  {
    absl::MutexLock lock(&mu_);
    for (int i = 0; i < num_tables(); ++i) {
      tables_.emplace_back(
          ps::TableClient::Options{.table = static_cast<uint32_t>(i),
                                   .width = width(i),
                                   .servers = map.servers_size(),
                                   .rank = rank(),
                                   .staleness = staleness(i),
                                   .start_clock = clock_,
                                   .cache_rows = std::max(
                                       kMinCachedRows,
                                       options_.cache_bytes /
                                           (4 * width(i) + kRowOverhead))});
    }
  }
  clock_begin_ = absl::Now();
  const absl::Status connected = Connect(map);
  if (!connected.ok()) Fail(connected);
  return Whole();
}

// And sends what may have been lost with the connections before.
absl::Status TableSession::Connect(const control::ShardMap& map) {
  PsClientOptions client = DataPlaneOptions(*session_, map);
  client.subscribe = false;
  client.transport = options_.transport;
  client_ = std::make_unique<PsClient>(std::move(client),
                                       static_cast<PsClientEvents&>(*this));
  RETURN_IF_ERROR(client_->Start());
  session_->gate().Rewind(clock_ + 1);  // this one has begun
  session_->Watch([this](absl::Status status) { Fail(status); });
  RETURN_IF_ERROR(OpenTickStreams(
      map, [this](const absl::Status& status) { Fail(status); }, &shards_,
      &ticks_));
  {
    absl::MutexLock lock(&mu_);
    incs_out_ = 0;
    for (ps::TableClient& table : tables_) {
      for (const ps::TableClient::Outgoing& out : table.Reconnected()) {
        ++incs_out_;
        client_->SendInc(out.server, out.inc);
      }
    }
  }
  for (size_t i = 0; i < ticks_.size(); ++i) {
    for (const control::Tick& tick : unanswered_[i].ticks)
      RETURN_IF_ERROR(ticks_[i]->Send(tick));
  }
  return absl::OkStatus();
}

// Forgets the ticks that the server has answered: they are in its log.
void TableSession::Trim(size_t server) {
  Unanswered& of = unanswered_[server];
  const int64_t answered = ticks_[server]->acknowledged();
  for (; of.answered < answered && !of.ticks.empty(); ++of.answered)
    of.ticks.pop_front();
}

// ---- Servers that come back -------------------------------------------------

absl::Status TableSession::Whole() {
  absl::Time deadline = absl::InfiniteFuture();
  for (int attempt = 0;; ++attempt) {
    absl::Status why;
    {
      absl::MutexLock lock(&mu_);
      RETURN_IF_ERROR(failure_);
      why = lost_;
    }
    if (why.ok()) return why;
    if (attempt == 0) {
      deadline = absl::Now() + options_.timeout;
      LOG(WARNING) << "worker " << rank() << " in clock " << clock_
                   << " connects again: " << why.message();
    }
    // The coordinator may not have noticed yet, and would give the map of before.
    if (!session_->must_rejoin()) absl::SleepFor(kRejoinPause);
    const absl::Status rejoined = Rejoin();
    absl::MutexLock lock(&mu_);
    if (!rejoined.ok() && lost_.ok() && failure_.ok()) lost_ = rejoined;
    if (absl::Now() > deadline && failure_.ok() && !lost_.ok())
      failure_ = lost_;
  }
}

absl::Status TableSession::Rejoin() {
  Disconnect();
  {
    absl::MutexLock lock(&mu_);
    lost_ = absl::OkStatus();
  }
  const uint32_t epoch = session_->job_epoch();
  absl::StatusOr<control::DeclareLayoutResponse> declared =
      session_->Declare({}, 0, 0);
  const absl::Status failed = session_->failure();
  if (!failed.ok()) {
    Fail(failed);
    return failed;
  }
  if (declared.ok() && declared->job_epoch() != epoch)
    declared = absl::FailedPreconditionError(absl::StrCat(
        "job ", session_->job(), " went back to a checkpoint"));
  if (declared.ok()) return Connect(declared->shard_map());
  absl::MutexLock lock(&mu_);
  if (absl::IsFailedPrecondition(declared.status()) ||
      absl::IsNotFound(declared.status()))
    failure_ = declared.status();
  return declared.status();
}

absl::Status TableSession::Insist(
    const std::function<absl::Status()>& attempt) {
  for (;;) {
    RETURN_IF_ERROR(Whole());
    const absl::Status done = attempt();
    if (done.ok()) return done;
    absl::MutexLock lock(&mu_);
    // Not by what can be made good: by this call's own doing, or for good.
    if (lost_.ok()) return failure_.ok() ? done : failure_;
  }
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

int TableSession::staleness(int table) const {
  const control::TableSpec& spec = session_->spec().tables(table);
  return spec.has_staleness() ? spec.staleness() : session_->spec().staleness();
}

absl::Status TableSession::CheckRow(int table, int64_t row) const {
  if (table >= 0 && table < num_tables() && row >= 0 && row < rows(table))
    return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("row ", row, " of table ", table, " does not exist"));
}

absl::Status TableSession::CheckRows(int table, absl::Span<const int64_t> rows,
                                     size_t floats) const {
  for (int64_t row : rows) RETURN_IF_ERROR(CheckRow(table, row));
  if (rows.empty() || floats == rows.size() * width(table))
    return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(
      "table '", session_->spec().tables(table).name(), "' has rows of ",
      width(table), " floats, not ", floats,
      rows.size() == 1 ? "" : absl::StrCat(" for ", rows.size(), " rows")));
}

void TableSession::AskLocked(int table, absl::Span<const int64_t> rows) {
  for (const ps::TableClient::Request& request : tables_[table].Fetch(rows))
    client_->SendGet(request.server, request.get);
}

absl::Status TableSession::AwaitLocked(int table, int64_t row,
                                       absl::Span<float> out) {
  const absl::Time begin = absl::Now();
  const absl::Time deadline = begin + options_.timeout;
  while (true) {
    RETURN_IF_ERROR(TroubleLocked());
    if (const std::vector<float>* values = tables_[table].Get(row)) {
      std::copy(values->begin(), values->end(), out.begin());
      clock_waited_ += absl::Now() - begin;
      return absl::OkStatus();
    }
    AskLocked(table, {row});
    const uint64_t before = arrivals_;
    const auto changed = [&]() ABSL_SHARED_LOCKS_REQUIRED(mu_) {
      return arrivals_ != before || DisturbedLocked();
    };
    if (!mu_.AwaitWithDeadline(absl::Condition(&changed), deadline)) {
      return absl::DeadlineExceededError(absl::StrCat(
          "row ", row, " of table ", table, " in clock ", clock_,
          ": the slowest worker is more than ", staleness(table),
          " clocks behind for ", absl::FormatDuration(options_.timeout)));
    }
  }
}

absl::Status TableSession::Get(int table, int64_t row, absl::Span<float> out) {
  return BatchGet(table, {row}, out);
}

absl::Status TableSession::GetAsync(int table, absl::Span<const int64_t> rows) {
  for (int64_t row : rows) RETURN_IF_ERROR(CheckRow(table, row));
  RETURN_IF_ERROR(Whole());
  absl::MutexLock lock(&mu_);
  AskLocked(table, rows);
  return absl::OkStatus();
}

absl::Status TableSession::BatchGet(int table, absl::Span<const int64_t> rows,
                                    absl::Span<float> out) {
  RETURN_IF_ERROR(CheckRows(table, rows, out.size()));
  return Insist([&]() -> absl::Status {
    absl::MutexLock lock(&mu_);
    AskLocked(table, rows);
    for (size_t i = 0; i < rows.size(); ++i) {
      RETURN_IF_ERROR(AwaitLocked(
          table, rows[i], out.subspan(i * width(table), width(table))));
    }
    return absl::OkStatus();
  });
}

absl::Status TableSession::Inc(int table, int64_t row,
                               absl::Span<const float> delta) {
  return BatchInc(table, {row}, delta);
}

absl::Status TableSession::Inc(int table, int64_t row, int element,
                               float delta) {
  RETURN_IF_ERROR(CheckRow(table, row));
  if (element < 0 || element >= width(table))
    return absl::InvalidArgumentError(
        absl::StrCat("rows of table ", table, " have no element ", element));
  absl::MutexLock lock(&mu_);
  RETURN_IF_ERROR(failure_);
  tables_[table].Inc(row, element, delta);
  return absl::OkStatus();
}

absl::Status TableSession::BatchInc(int table, absl::Span<const int64_t> rows,
                                    absl::Span<const float> deltas) {
  RETURN_IF_ERROR(CheckRows(table, rows, deltas.size()));
  absl::MutexLock lock(&mu_);
  RETURN_IF_ERROR(failure_);
  for (size_t i = 0; i < rows.size(); ++i) {
    tables_[table].Inc(rows[i],
                       deltas.subspan(i * width(table), width(table)));
  }
  return absl::OkStatus();
}

absl::Status TableSession::Clock() {
  RETURN_IF_ERROR(Whole());
  {
    absl::MutexLock lock(&mu_);
    for (ps::TableClient& table : tables_) {
      for (const ps::TableClient::Outgoing& out : table.Tick()) {
        ++incs_out_;
        client_->SendInc(out.server, out.inc);
      }
      if (!options_.eager) continue;
      for (const ps::TableClient::Request& request : table.Refresh())
        client_->SendGet(request.server, request.get);
    }
  }
  RETURN_IF_ERROR(Insist([this] { return AwaitRoom(); }));
  RETURN_IF_ERROR(SendTicks(/*finished=*/false));
  control::WorkerReport report;
  control::ClockReport& clock = *report.mutable_clock();
  const absl::Time now = absl::Now();
  clock.set_clock(clock_);
  clock.set_wait_seconds(absl::ToDoubleSeconds(clock_waited_));
  clock.set_clock_seconds(absl::ToDoubleSeconds(now - clock_begin_));
  session_->Report(std::move(report));
  waited_ += clock_waited_;
  clock_waited_ = absl::ZeroDuration();
  clock_begin_ = now;
  // Orders concern the servers alone; they wait for our clock, though.
  const auto begin = [this] {
    const absl::Status begun = session_->gate().Begin(clock_ + 1).status();
    if (!begun.ok()) Fail(begun);
    return begun;
  };
  if (!begin().ok()) RETURN_IF_ERROR(Insist(begin));
  ++clock_;
  return absl::OkStatus();
}

absl::Status TableSession::AwaitRoom() {
  const absl::Time begin = absl::Now();
  absl::MutexLock lock(&mu_);
  const auto room = [&]() ABSL_SHARED_LOCKS_REQUIRED(mu_) {
    return incs_out_ < kMaxIncsOut || DisturbedLocked();
  };
  mu_.Await(absl::Condition(&room));
  clock_waited_ += absl::Now() - begin;
  return TroubleLocked();
}

control::Tick TableSession::TickFor(size_t server, bool finished) {
  control::Tick tick;
  tick.set_job_id(session_->job());
  tick.set_token(session_->joined().token());
  tick.set_rank(rank());
  tick.set_incarnation(session_->joined().incarnation());
  tick.set_clock(clock_);
  tick.set_finished(finished);
  absl::MutexLock lock(&mu_);
  for (const ps::TableClient& table : tables_)
    tick.add_table_incs(table.sent(static_cast<int>(server)));
  return tick;
}

absl::Status TableSession::SendTicks(bool finished) {
  for (size_t server = 0; server < ticks_.size(); ++server)
    unanswered_[server].ticks.push_back(TickFor(server, finished));
  for (size_t server = 0; server < ticks_.size(); ++server) {
    Trim(server);
    const absl::Status sent =
        ticks_[server]->Send(unanswered_[server].ticks.back());
    if (sent.ok()) continue;
    Fail(Annotate(sent,
                  absl::StrCat("tick to ", shards_[server]->address())));
    return Whole();  // all that were not answered are sent again
  }
  return absl::OkStatus();
}

absl::Status TableSession::AwaitHeld() {
  absl::MutexLock lock(&mu_);
  const auto held = [&]() ABSL_SHARED_LOCKS_REQUIRED(mu_) {
    return incs_out_ == 0 || DisturbedLocked();
  };
  if (!mu_.AwaitWithTimeout(absl::Condition(&held), options_.timeout)) {
    return absl::DeadlineExceededError(
        absl::StrCat(incs_out_, " increments are not held by their servers"));
  }
  return TroubleLocked();
}

absl::Status TableSession::Flush() {
  return Insist([this] { return AwaitHeld(); });
}

absl::Status TableSession::Finish() {
  if (finished_) return absl::OkStatus();
  RETURN_IF_ERROR(Flush());
  RETURN_IF_ERROR(SendTicks(/*finished=*/true));
  RETURN_IF_ERROR(Insist([this]() -> absl::Status {
    for (size_t i = 0; i < ticks_.size(); ++i) {
      const absl::Status closed = Annotate(
          ticks_[i]->Close(kTickGrace),
          absl::StrCat("last tick to ", shards_[i]->address()));
      if (closed.ok()) continue;
      Fail(closed);
      return closed;
    }
    return absl::OkStatus();
  }));
  finished_ = true;
  session_->Leave(absl::OkStatus());
  return absl::OkStatus();
}

// What the servers' logs make good is only a loss of connections.
void TableSession::Fail(const absl::Status& status) {
  const bool lasting = absl::IsPermissionDenied(status) ||
                       absl::IsInvalidArgument(status) ||
                       absl::IsResourceExhausted(status) ||
                       absl::IsDataLoss(status) ||
                       !session_->failure().ok();
  absl::MutexLock lock(&mu_);
  if (!lasting && session_->spec().durability() == control::LOG) {
    if (lost_.ok()) lost_ = status;
  } else if (failure_.ok()) {
    failure_ = status;
  }
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

void TableSession::OnIncDone(int server, uint32_t table, uint64_t sequence) {
  absl::MutexLock lock(&mu_);
  --incs_out_;
  tables_[table].OnAcknowledged(server, sequence);
}

}  // namespace cssp
