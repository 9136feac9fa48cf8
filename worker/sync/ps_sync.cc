#include "worker/sync/ps_sync.h"

#include <algorithm>
#include <numeric>
#include <utility>

#include "absl/algorithm/container.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "common/base/logging.h"
#include "common/base/status_macros.h"
#include "common/optim/bfloat16.h"
#include "common/optim/update_rule.h"
#include "common/ps/consistency.h"
#include "worker/sync/job_links.h"

namespace cssp {
namespace {

constexpr size_t kMedianWindow = 31;
constexpr absl::Duration kInitTimeout = absl::Minutes(2);
constexpr absl::Duration kFinishTimeout = absl::Minutes(2);
constexpr absl::Duration kTickGrace = absl::Seconds(30);
constexpr size_t kHistogramSize = 64;
constexpr ps::Freshness kNone{.row = -1, .own = -1};

// Nothing fresher comes to who does not ask, and PER_PUSH sends values when
// they let a reader go on: no use in waiting for more.
double FreshWait(const control::JobSpec& spec) {
  const bool useless =
      spec.lazy_pull() || spec.ssp_update() == control::PER_PUSH;
  return useless ? 0 : spec.fresh_wait();
}

}  // namespace

absl::StatusOr<std::unique_ptr<PsSync>> PsSync::Create(
    JobSession& session, const control::DeclareLayoutResponse& declared,
    ps::SlabLayout layout, const ParamSlabs& slabs,
    const PsSyncOptions& options) {
  const auto& map = declared.shard_map();
  if (map.chunk_server_size() != static_cast<int>(layout.chunks().size()))
    return absl::InternalError(absl::StrCat(
        "the shard map has ", map.chunk_server_size(), " chunks, the layout ",
        layout.chunks().size()));
  for (int server : map.chunk_server())
    if (server < 0 || server >= map.servers_size())
      return absl::InternalError("the shard map names an unknown server");
  auto sync = std::unique_ptr<PsSync>(
      new PsSync(session, std::move(layout), slabs, options));
  sync->cache_.SetStaleness(declared.staleness(), 0);
  ASSIGN_OR_RETURN(sync->straggler_,
                   Straggler::Parse(session.spec().straggler(),
                                    session.spec().workers()));
  RETURN_IF_ERROR(sync->Start(declared));
  return sync;
}

PsSync::PsSync(JobSession& session, ps::SlabLayout layout,
               const ParamSlabs& slabs, const PsSyncOptions& options)
    : session_(session),
      layout_(std::move(layout)),
      slabs_(slabs),
      options_(options),
      time_(options.time != nullptr ? *options.time : TimeSource::Real()),
      rank_(session.joined().rank()),
      fresh_(FreshWait(session.spec())),
      lazy_pull_(session.spec().lazy_pull()),
      backup_(session.spec().backup() > 0),
      sends_norm_(session.spec().ssp_update() == control::PER_PUSH &&
                  session.spec().solver().clip_gradients() >= 0),
      cache_(layout_, slabs.weights,
             ps::BoundsOf(session.spec()).staleness, backup_),
      pipeline_(layout_, [this](int chunk, int64_t clock) {
        SendChunk(chunk, clock);
      }),
      lost_(layout_.chunks().size(), kNone),
      samples_(options_.samples) {
  if (session.spec().wire() != control::BF16) return;
  for (std::vector<uint16_t>& slab : packed_) slab.resize(layout_.size());
}

PsSync::~PsSync() {
  session_.Unwatch();
  if (client_ != nullptr) client_->Stop();
}

absl::Status PsSync::Start(const control::DeclareLayoutResponse& declared) {
  const control::ShardMap& map = declared.shard_map();
  next_clock_ = declared.start_clock();
  clock_ = start_clock_ = next_clock_;
  chunk_server_.assign(map.chunk_server().begin(), map.chunk_server().end());
  pushes_.assign(map.servers_size(), 0);
  PsClientOptions client = DataPlaneOptions(session_, map);
  client.chunk_server = chunk_server_;
  client.subscribe = !lazy_pull_;
  client.transport = options_.transport;
  client.metrics = options_.metrics;
  client.time = options_.time;
  client_ = std::make_unique<PsClient>(std::move(client),
                                       static_cast<PsClientEvents&>(*this));
  RETURN_IF_ERROR(client_->Start());
  session_.Watch([this](absl::Status status) { Fail(status); });
  session_.gate().Rewind(next_clock_);
  for (const control::Order& order : declared.orders()) TakeOrder(order);
  for (size_t chunk = 0; chunk < chunk_server_.size(); ++chunk)
    client_->SendPull(static_cast<int>(chunk), next_clock_);
  return OpenTickStreams(
      map, [this](const absl::Status& status) { Fail(status); }, &shards_,
      &ticks_);
}

absl::Status PsSync::Initialise(
    absl::Span<const absl::Span<const float>> history) {
  const int last = static_cast<int>(history.size());
  for (size_t i = 0; i < layout_.chunks().size(); ++i) {
    const ps::Chunk& chunk = layout_.chunks()[i];
    for (int slot = 0; slot <= last; ++slot) {
      const absl::Span<const float> slab =
          slot == 0 ? absl::Span<const float>(slabs_.weights)
                    : history[slot - 1];
      // Counted as a push of start_clock's generation: same rules of memory.
      pipeline_.CountSend(next_clock_);
      client_->SendInit(static_cast<int>(i), slot, next_clock_, slot == last,
                        slab.subspan(chunk.offset, chunk.count));
    }
  }
  const absl::Status held = pipeline_.AwaitAll(kInitTimeout);
  return held.ok() ? held : Lost(Annotate(held, "initialising the servers"));
}

// ---- A clock, on the training thread ----------------------------------------

absl::Status PsSync::BeginClock(int64_t clock) {
  memberships_.clear();
  ASSIGN_OR_RETURN(const std::vector<control::Order> orders,
                   session_.gate().Begin(clock));
  for (const control::Order& order : orders) TakeOrder(order);
  while (!staleness_from_.empty() && staleness_from_.begin()->first <= clock) {
    cache_.SetStaleness(staleness_from_.begin()->second, clock);
    staleness_from_.erase(staleness_from_.begin());
  }
  clock_ = clock;
  clock_begin_ = time_.Now();
  fresh_.BeginClock(MedianClock());
  clock_waited_ = clock_injected_ = absl::ZeroDuration();
  clock_staleness_ = 0;
  std::fill(pushes_.begin(), pushes_.end(), 0);
  if (!lazy_pull_) return absl::OkStatus();
  // What is still legal costs no traffic; the first clock was asked for at the
  // start.
  for (int chunk = 0; chunk < static_cast<int>(chunk_server_.size()); ++chunk)
    if (clock != start_clock_ && !cache_.Fit(chunk, clock))
      client_->SendPull(chunk, clock);
  return absl::OkStatus();
}

absl::Duration PsSync::MedianClock() const {
  if (durations_.empty()) return absl::ZeroDuration();
  std::vector<absl::Duration> sorted(durations_.begin(), durations_.end());
  std::nth_element(sorted.begin(), sorted.begin() + sorted.size() / 2,
                   sorted.end());
  return sorted[sorted.size() / 2];
}

absl::Status PsSync::AwaitWeights(int first, int count, int64_t clock,
                                  bool* changed) {
  *changed = false;
  for (int param = first; param < first + count; ++param) {
    for (int chunk = layout_.first_chunk_of(param);
         chunk <= layout_.last_chunk_of(param); ++chunk) {
      ASSIGN_OR_RETURN(
          const ParamCache::Read read,
          cache_.Install(chunk, clock,
                         time_.Now() + fresh_.left(), time_));
      CountRead(read, clock);
      // A chunk serves several layers: the later ones see new contents, too.
      *changed |= read.changed;
    }
  }
  return absl::OkStatus();
}

void PsSync::CountRead(const ParamCache::Read& read, int64_t clock) {
  if (!read.first) return;
  clock_waited_ += read.waited;
  fresh_.Spend(read.waited_fresh);
  const int64_t staleness = clock - read.version;
  clock_staleness_ = std::max(clock_staleness_, staleness);
  const size_t bin =
      std::min(static_cast<size_t>(std::max<int64_t>(0, staleness)),
               kHistogramSize - 1);
  if (histogram_.size() <= bin) histogram_.resize(bin + 1);
  ++histogram_[bin];
  if (options_.metrics == nullptr) return;
  options_.metrics->staleness->Observe(static_cast<double>(staleness));
  options_.metrics->weight_wait_seconds->Add(
      absl::ToDoubleSeconds(read.waited));
  options_.metrics->fresh_wait_seconds->Add(
      absl::ToDoubleSeconds(read.waited_fresh));
}

absl::Status PsSync::AwaitGradientSlot(int64_t clock) {
  if (straggler_ != nullptr) {
    // Before the first gradient leaves, as slow compute would have it.
    const absl::Duration extra = straggler_->Extra(rank_, clock, Work());
    clock_injected_ += extra;
    absl::SleepFor(extra);
  }
  ASSIGN_OR_RETURN(const absl::Duration waited, pipeline_.AwaitSlot(clock));
  clock_waited_ += waited;
  if (options_.metrics)
    options_.metrics->gradient_wait_seconds->Add(absl::ToDoubleSeconds(waited));
  return absl::OkStatus();
}

void PsSync::GradientReady(int param, int64_t clock) {
  pipeline_.Ready(param, clock);
}

void PsSync::SendChunk(int chunk, int64_t clock) {
  const ps::Chunk& where = layout_.chunks()[chunk];
  const auto generation = static_cast<size_t>(clock % 2);
  ++pushes_[chunk_server_[chunk]];
  PsClient::Push push;
  push.chunk = chunk;
  push.clock = clock;
  push.based_on = std::min(clock, cache_.oldest_installed());
  push.samples = samples_;
  push.data = slabs_.gradients[generation].subspan(where.offset, where.count);
  if (!packed_[generation].empty() && !HasStatistics(where)) {
    const auto packed = absl::MakeSpan(packed_[generation])
                            .subspan(where.offset, where.count);
    PackBf16(push.data, packed);
    push.packed = packed;
  }
  client_->SendPush(push);
}

// Statistics (BatchNorm's means) are values, not gradients: nothing averages
// their rounding out.
bool PsSync::HasStatistics(const ps::Chunk& chunk) const {
  return absl::c_any_of(chunk.segments, [this](const ps::Segment& segment) {
    return layout_.blobs()[segment.blob].statistic;
  });
}

absl::Status PsSync::EndClock(const ClockSummary& summary) {
  pipeline_.Flush(summary.clock);
  RETURN_IF_ERROR(SendTicks(summary.clock, false, summary.loss * Work()));
  const absl::Duration duration = time_.Now() - clock_begin_;
  durations_.push_back(duration);
  if (durations_.size() > kMedianWindow) durations_.pop_front();
  if (straggler_ != nullptr)
    straggler_->Observe(duration - clock_waited_ - clock_injected_, Work());
  waited_ += clock_waited_;
  ran_ += duration;
  next_clock_ = summary.clock + 1;
  // Clocks that are closed need nobody's part: on to the one that is open.
  jumped_ = backup_ && reached_.load() > next_clock_;
  if (jumped_) {
    const int64_t reached = reached_.load();
    if (options_.metrics != nullptr)
      options_.metrics->skipped_clocks->Add(
          static_cast<double>(reached - next_clock_));
    next_clock_ = reached;
  }
  ReportClock(summary, duration);
  return session_.failure();
}

absl::Status PsSync::SendTicks(int64_t clock, bool finished, double loss) {
  control::Tick tick;
  tick.set_job_id(session_.job());
  tick.set_token(session_.joined().token());
  tick.set_rank(rank_);
  tick.set_incarnation(session_.joined().incarnation());
  tick.set_clock(clock);
  tick.set_finished(finished);
  tick.set_loss(loss);
  if (sends_norm_ && !finished) tick.set_squared_norm(SquaredNorm(clock));
  for (size_t i = 0; i < ticks_.size(); ++i) {
    tick.set_pushes(finished ? 0 : pushes_[i]);
    const absl::Status sent = ticks_[i]->Send(tick);
    if (!sent.ok())
      return Lost(
          Annotate(sent, absl::StrCat("tick to ", shards_[i]->address())));
  }
  return absl::OkStatus();
}

absl::Status PsSync::Lost(absl::Status status) {
  Fail(status);
  return status;
}

absl::Status PsSync::lost() const {
  absl::MutexLock lock(&mu_);
  return lost_why_;
}

// Of the whole gradient, in key order: the same whatever the chunks are.
double PsSync::SquaredNorm(int64_t clock) const {
  const absl::Span<const float> slab =
      slabs_.gradients[static_cast<size_t>(clock % 2)];
  std::vector<double> partials;
  const absl::Span<const ps::BlobSpec> blobs = layout_.blobs();
  for (size_t i = 0; i < blobs.size(); ++i) {
    if (blobs[i].statistic) continue;
    SquaredNormPartials(
        slab.subspan(layout_.blob_offset(static_cast<int>(i)), blobs[i].count),
        ps::SlabLayout::kBlock, &partials);
  }
  return std::accumulate(partials.begin(), partials.end(), 0.0);
}

void PsSync::ReportClock(const ClockSummary& summary,
                         absl::Duration duration) {
  control::WorkerReport report;
  control::ClockReport& clock = *report.mutable_clock();
  clock.set_clock(summary.clock);
  clock.set_loss(summary.loss);
  for (const OutputSample& sample : summary.outputs) {
    control::OutputValue& output = *clock.add_outputs();
    output.set_name(sample.name);
    output.set_value(sample.value);
    output.set_loss_weight(sample.loss_weight);
    output.set_index(sample.index);
  }
  const double seconds = absl::ToDoubleSeconds(duration);
  clock.set_samples(static_cast<double>(summary.samples));
  clock.set_wait_seconds(absl::ToDoubleSeconds(clock_waited_));
  clock.set_clock_seconds(seconds);
  clock.set_staleness(static_cast<int32_t>(clock_staleness_));
  for (int64_t count : histogram_) clock.add_staleness_histogram(count);
  session_.Report(std::move(report));
  if (options_.metrics == nullptr) return;
  options_.metrics->clock->Set(static_cast<double>(summary.clock + 1));
  options_.metrics->loss->Set(summary.loss);
  options_.metrics->samples->Add(static_cast<double>(summary.samples));
  options_.metrics->data_wait_seconds->Add(summary.data_wait_seconds);
  options_.metrics->clock_seconds->Observe(seconds);
  if (seconds > 0)
    options_.metrics->samples_per_second->Set(
        static_cast<double>(summary.samples) / seconds);
}

LoopOrder PsSync::order() {
  if (session_.stop_requested() || let_go()) return LoopOrder::kStop;
  return jumped_ ? LoopOrder::kJump : LoopOrder::kContinue;
}

bool PsSync::Leave() {
  control::WorkerReport report;
  report.set_leaving(true);
  session_.Report(std::move(report));
  return true;
}

void PsSync::TakeOrder(const control::Order& order) {
  // The declaration's answer has told it, and a new lease tells it again.
  if (order.number() > 0 && order.number() <= last_order_) return;
  last_order_ = std::max(last_order_, order.number());
  if (order.kind_case() == control::Order::kStaleness)
    staleness_from_[order.effective_clock()] = order.staleness();
  if (!order.has_membership()) return;
  memberships_.push_back(order);
  const auto& ranks = order.membership().ranks();
  const bool member =
      std::find(ranks.begin(), ranks.end(), rank_) != ranks.end();
  leaves_at_ = member ? std::numeric_limits<int64_t>::max()
                      : order.effective_clock();
}

absl::Status PsSync::Finish() {
  RETURN_IF_ERROR(pipeline_.AwaitAll(kFinishTimeout));
  RETURN_IF_ERROR(SendTicks(next_clock_, true, 0));
  for (size_t i = 0; i < ticks_.size(); ++i) {
    const absl::Status taken = ticks_[i]->Close(kTickGrace);
    if (!taken.ok())
      return Lost(Annotate(
          taken, absl::StrCat("last tick to ", shards_[i]->address())));
  }
  return absl::OkStatus();
}

// ---- From other threads -----------------------------------------------------

void PsSync::Reached(int64_t version) {
  int64_t before = reached_.load();
  while (before < version && !reached_.compare_exchange_weak(before, version)) {
  }
}

void PsSync::Fail(const absl::Status& status) {
  {
    absl::MutexLock lock(&mu_);
    if (lost_why_.ok()) lost_why_ = status;
  }
  cache_.Fail(status);
  pipeline_.Fail(status);
}

float* PsSync::OnValuesBegin(const ps::MessageHeader& header) {
  const ps::Chunk& chunk = layout_.chunks()[header.chunk];
  if (header.slot != 0 ||
      header.payload_bytes != chunk.count * sizeof(float)) {
    Fail(absl::DataLossError(
        absl::StrCat("values of a wrong shape: ", ps::ToString(header))));
    return nullptr;
  }
  Reached(header.clock);
  bool lost = false;
  const ps::Freshness fresh{.row = header.clock, .own = header.based_on};
  float* memory =
      cache_.BeginArrival(static_cast<int>(header.chunk), fresh, &lost);
  if (lost && fresh.NewerThan(lost_[header.chunk])) lost_[header.chunk] = fresh;
  return memory;
}

void PsSync::OnValuesEnd(const ps::MessageHeader& header, float* memory,
                         bool ok) {
  const int chunk = static_cast<int>(header.chunk);
  if (ok && !(header.flags & ps::kFlagEager) && header.clock > clock_.load())
    cache_.AdmitNewer(header.clock);
  cache_.EndArrival(chunk, memory, ok);
  const ps::Freshness fresh{.row = header.clock, .own = header.based_on};
  if (!ok && fresh.NewerThan(lost_[chunk])) lost_[chunk] = fresh;
  if (lost_[chunk].row < 0) return;
  // What found no room, or came damaged, is asked for again.
  if (lost_[chunk].NewerThan(cache_.newest(chunk)))
    client_->SendPull(chunk, clock_.load());
  lost_[chunk] = kNone;
}

void PsSync::OnPushDone(int chunk, int64_t clock) {
  pipeline_.Done(chunk, clock);
}

void PsSync::OnReconnect(int server) {
  const int64_t clock = clock_.load();
  for (size_t chunk = 0; chunk < chunk_server_.size(); ++chunk)
    if (chunk_server_[chunk] == server)
      client_->SendPull(static_cast<int>(chunk), clock);
}

}  // namespace cssp
