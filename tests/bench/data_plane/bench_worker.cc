#include "tests/bench/data_plane/bench_worker.h"

#include "common/base/logging.h"
#include "common/base/time_source.h"

namespace cssp::bench {
namespace {

constexpr int kHistory = 1;  // SGD's

}  // namespace

BenchWorker::BenchWorker(const Model& model, const std::string& transports,
                         const std::string& server, bool subscribe)
    : layout_(model.Layout()),
      subscribe_(subscribe),
      landing_(layout_.size() * kSlots, 1.0f),
      chunks_(layout_.chunks().size()) {
  for (std::vector<float>& generation : gradients_) {
    generation.assign(layout_.size(), 1e-3f);
  }
  PsClientOptions options;
  options.job = model.job;
  options.incarnation = 1;
  options.token = kToken;
  options.servers = {server};
  options.chunk_server.assign(chunks_.size(), 0);
  options.subscribe = subscribe;
  options.transport = Options(transports);
  PsClientEvents& events = *this;
  client_ = std::make_unique<PsClient>(std::move(options), events);
  const absl::Status started = client_->Start();
  CHECK(started.ok()) << started;
  Init();
}

BenchWorker::~BenchWorker() { client_->Stop(); }

void BenchWorker::Init() {
  {
    absl::MutexLock lock(&mu_);
    outstanding_ = static_cast<int>(chunks_.size()) * (1 + kHistory);
  }
  for (int c = 0; c < static_cast<int>(chunks_.size()); ++c) {
    for (int slot = 0; slot <= kHistory; ++slot) {
      client_->SendInit(
          c, slot, 0, slot == kHistory,
          absl::MakeConstSpan(gradients_[0])
              .subspan(layout_.chunks()[c].offset, layout_.chunks()[c].count));
    }
  }
  absl::MutexLock lock(&mu_);
  mu_.Await(absl::Condition(
      +[](int* outstanding) { return *outstanding == 0; }, &outstanding_));
  initialising_ = false;
}

// A blob of one chunk: up to the window's clocks; many chunks: about as many
// messages under way.
int BenchWorker::InFlight(int64_t chunks) const {
  if (load_ == Load::kPushPull) return 1;
  if (load_ == Load::kPull) return 2;
  return chunks >= kClocksInFlight ? 2
                                   : kClocksInFlight / static_cast<int>(chunks);
}

double BenchWorker::Run(Load load, absl::Duration duration) {
  CHECK_EQ(subscribe_, load == Load::kPushPull) << "values unasked";
  load_ = load;
  const int window = InFlight(static_cast<int64_t>(chunks_.size()));
  TimeSource& time = TimeSource::Real();
  const absl::Time begin = time.Now();
  {
    absl::MutexLock lock(&mu_);
    running_ = true;
    bytes_ = 0;
    last_clock_ = chunks_[0].next_clock + kClocksARun;
    outstanding_ = window * static_cast<int>(chunks_.size());
  }
  for (int i = 0; i < window; ++i) {
    for (int c = 0; c < static_cast<int>(chunks_.size()); ++c) Send(c);
  }
  absl::MutexLock lock(&mu_);
  mu_.AwaitWithTimeout(
      absl::Condition(+[](bool* running) { return !*running; }, &running_),
      duration);
  const double rate =
      static_cast<double>(bytes_) / absl::ToDoubleSeconds(time.Now() - begin);
  running_ = false;
  mu_.Await(absl::Condition(
      +[](int* outstanding) { return *outstanding == 0; }, &outstanding_));
  return rate;
}

double BenchWorker::RoundTrip(int clocks) {
  CHECK(subscribe_) << "values come unasked";
  load_ = Load::kPushPull;
  TimeSource& time = TimeSource::Real();
  absl::Duration total;
  for (int i = 0; i < clocks; ++i) {
    const absl::Time begin = time.Now();
    absl::MutexLock lock(&mu_);
    outstanding_ = static_cast<int>(chunks_.size());
    for (int c = 0; c < static_cast<int>(chunks_.size()); ++c) Send(c);
    mu_.Await(absl::Condition(
        +[](int* outstanding) { return *outstanding == 0; }, &outstanding_));
    total += time.Now() - begin;
  }
  return absl::ToDoubleSeconds(total) / clocks;
}

// One message of the load for `chunk`; only one thread at a time is in here
// for a chunk: the beginner's before it is first answered, then the comm
// thread's.
void BenchWorker::Send(int chunk) {
  ChunkRun& run = chunks_[chunk];
  const ps::Chunk& where = layout_.chunks()[chunk];
  if (load_ == Load::kPull) {
    client_->SendPull(chunk, 0);
    return;
  }
  const absl::Span<const float> data =
      absl::MakeConstSpan(gradients_[run.next_clock % 2])
          .subspan(where.offset, where.count);
  if (load_ == Load::kPush) {
    client_->SendInit(chunk, 0, 0, false, data);
    return;
  }
  PsClient::Push push;
  push.chunk = chunk;
  push.clock = push.based_on = run.next_clock++;
  push.samples = 1;
  push.data = data;
  client_->SendPush(push);
}

void BenchWorker::Answered(int chunk, int64_t bytes) {
  {
    absl::MutexLock lock(&mu_);
    if (!running_) {
      --outstanding_;
      return;
    }
    bytes_ += bytes;
    if (chunks_[chunk].next_clock >= last_clock_) running_ = false;
  }
  Send(chunk);
}

float* BenchWorker::OnValuesBegin(const ps::MessageHeader& header) {
  ChunkRun& run = chunks_[header.chunk];
  run.landing = (run.landing + 1) % kSlots;
  return &landing_[layout_.size() * run.landing +
                   layout_.chunks()[header.chunk].offset];
}

void BenchWorker::OnValuesEnd(const ps::MessageHeader& header, float*,
                              bool ok) {
  CHECK(ok) << "damaged values";
  const int chunk = static_cast<int>(header.chunk);
  // The initial version comes to subscribers, too.
  if (subscribe_ && header.clock == 0) return;
  Answered(chunk, BytesOf(chunk));
}

void BenchWorker::OnPushDone(int chunk, int64_t) {
  if (initialising_ || load_ == Load::kPush || load_ == Load::kPushApply) {
    Answered(chunk, BytesOf(chunk));
  }
}

void BenchWorker::OnPullRefused(const ps::MessageHeader& header) {
  LOG(FATAL) << "refused: " << ps::ToString(header);
}

void BenchWorker::OnReconnect(int) { LOG(FATAL) << "the connection broke"; }

void BenchWorker::OnFatal(const absl::Status& status) { LOG(FATAL) << status; }

}  // namespace cssp::bench
