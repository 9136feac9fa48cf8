// One worker of one model, without a net: PsClient driven as fast as it goes.
#ifndef CSSP_TESTS_BENCH_DATA_PLANE_BENCH_WORKER_H_
#define CSSP_TESTS_BENCH_DATA_PLANE_BENCH_WORKER_H_

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "common/ps/slab_layout.h"
#include "tests/bench/data_plane/bench_models.h"
#include "worker/sync/ps_client.h"

namespace cssp::bench {

enum class Load {
  kPush,       // landed, checked, acknowledged, dropped: no apply
  kPushApply,  // summed and applied
  kPushPull,   // the same, and each version comes back before the next push
  kPull,       // values alone
};

// Thread-safe (monitor): a run begins on the caller's thread, goes on on the
// comm thread, which sends the next as soon as one is answered.
class BenchWorker final : private PsClientEvents {
 public:
  // Connects and, the first time that a model is used, initialises it.
  BenchWorker(const Model& model, const std::string& transports,
              const std::string& server, bool subscribe);
  ~BenchWorker() override;

  // Chunks answered for `duration`, at most kClocksARun clocks; gives bytes a
  // second.
  double Run(Load load, absl::Duration duration);
  // Seconds of one clock alone: push all chunks, until all values are back.
  double RoundTrip(int clocks);
  std::string Describe() const { return client_->Describe(); }

 private:
  static constexpr int kSlots = 3;  // as ParamCache has
  // A shard refuses to be 65,536 clocks ahead of ticks, and none come here.
  static constexpr int64_t kClocksARun = 4096;

  struct ChunkRun {
    int64_t next_clock = 0;
    int landing = 0;
    int in_flight = 0;
  };

  // PsClientEvents, comm thread.
  float* OnValuesBegin(const ps::MessageHeader& header) override;
  void OnValuesEnd(const ps::MessageHeader& header, float* memory,
                   bool ok) override;
  void OnPushDone(int chunk, int64_t clock) override;
  void OnPullRefused(const ps::MessageHeader& header) override;
  void OnReconnect(int server) override;
  void OnFatal(const absl::Status& status) override;

  void Init();
  void Send(int chunk);
  void Answered(int chunk, int64_t bytes);
  int InFlight(int64_t chunk) const;
  int64_t BytesOf(int chunk) const {
    return layout_.chunks()[chunk].count * int64_t{sizeof(float)};
  }

  const ps::SlabLayout layout_;
  const bool subscribe_;
  std::array<std::vector<float>, 2> gradients_;  // generations
  std::vector<float> landing_;
  std::vector<ChunkRun> chunks_;
  Load load_ = Load::kPush;
  bool initialising_ = true;

  absl::Mutex mu_;
  bool running_ ABSL_GUARDED_BY(mu_) = false;
  int outstanding_ ABSL_GUARDED_BY(mu_) = 0;
  int64_t bytes_ ABSL_GUARDED_BY(mu_) = 0;
  int64_t last_clock_ ABSL_GUARDED_BY(mu_) = 0;  // ends the run

  std::unique_ptr<PsClient> client_;  // last: its thread calls us
};

}  // namespace cssp::bench

#endif  // CSSP_TESTS_BENCH_DATA_PLANE_BENCH_WORKER_H_
