// SSP tables in virtual time over a bad network: the bound, read-my-writes and
// conservation.
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/ps/table_client.h"
#include "gtest/gtest.h"
#include "server/shard/param_table.h"
#include "tests/sim/cluster/event_queue.h"

namespace cssp {
namespace {

struct TableConfig {
  uint64_t seed = 1;
  int workers = 2;
  int servers = 1;
  int rows = 1;
  int staleness = 0;
  int64_t clocks = 5;
  int64_t cache_rows = 1000;
  bool sparse = false;
  bool eager = false;
  int writer = -1;     // this rank only writes
  int reconnects = 0;  // of random workers, at random times
  int dead = -1;       // killed at `dies_at`; noticed a second later
  double dies_at = 0;
  NetworkFaults faults;
};

constexpr int64_t kSparseStep = 1000003;  // between a sparse table's rows

// HelloSSP: every worker adds 1 to its own column of every row each clock, and
// every read checks what it may and must see.  Thread-confined.
class TableSim {
 public:
  explicit TableSim(const TableConfig& config)
      : config_(config),
        random_(config.seed),
        network_(queue_, random_, config_.faults),
        workers_(config.workers) {
    for (int s = 0; s < config_.servers; ++s) {
      servers_.push_back(std::make_unique<Server>(*this, s));
    }
    for (int i = 0; i < config_.rows; ++i) {
      rows_.push_back(i * (config_.sparse ? kSparseStep : 1));
    }
    for (int rank = 0; rank < config_.workers; ++rank) {
      ps::TableClient::Options options;
      options.width = config_.workers;
      options.servers = config_.servers;
      options.rank = rank;
      options.staleness = config_.staleness;
      options.cache_rows = config_.cache_rows;
      options.message_bytes = 64;  // several messages a clock
      workers_[rank].client = std::make_unique<ps::TableClient>(options);
      workers_[rank].peer = rank;
    }
  }

  std::string Run() {
    for (int rank = 0; rank < config_.workers; ++rank) TryRead(rank);
    for (int i = 0; i < config_.reconnects; ++i) {
      const int rank = random_.Below(config_.workers);
      queue_.After(random_.Uniform() * 2 * config_.clocks,
                   [this, rank] { Reconnect(rank); });
    }
    if (config_.dead >= 0) {
      queue_.After(config_.dies_at, [this] { Die(config_.dead); });
    }
    while (failure_.empty() && queue_.Step()) {
    }
    for (int rank = 0; rank < config_.workers && failure_.empty(); ++rank) {
      const Worker& worker = workers_[rank];
      if (!worker.finished && worker.alive) {
        Fail(absl::StrCat("deadlock of ", rank));
      }
      if (worker.alive && worker.client->logged() > 0) {
        Fail(absl::StrCat("worker ", rank, " keeps ", worker.client->logged(),
                          " increments that are held"));
      }
    }
    for (int64_t row : rows_) CheckSum(row);
    return failure_;
  }

 private:
  struct Server : TableOutput {
    Server(TableSim& sim, int index)
        : sim(sim), table(*ParamTable::Create(Options(sim, index), *this)) {}
    static TableOptions Options(const TableSim& sim, int index) {
      const TableConfig& config = sim.config_;
      TableOptions options = {.rows = config.rows,
                              .width = config.workers,
                              .workers = config.workers,
                              .staleness = config.staleness,
                              .servers = config.servers,
                              .self = index};
      if (config.sparse) {
        options.rows = config.rows * kSparseStep;
        options.max_rows = config.rows;
      }
      return options;
    }
    void SendRows(PeerId peer, const ps::TableRows& rows) override {
      sim.network_.Send([this, peer, rows] {
        const int rank = static_cast<int>(peer) % sim.config_.workers;
        Worker& worker = sim.workers_[rank];
        if (!worker.alive || worker.peer != peer) return;
        worker.client->OnRows(rows);
        sim.CheckOwn(rank);
        if (worker.blocked) sim.TryRead(rank);
      });
    }
    TableSim& sim;
    ParamTable table;
  };
  struct Worker {
    std::unique_ptr<ps::TableClient> client;
    PeerId peer = 0;
    bool alive = true;
    bool blocked = false;
    size_t next_row = 0;  // to be read in this clock
    bool finished = false;
    // Server, sequence: not acknowledged, acknowledged.
    std::map<std::pair<int, uint64_t>, ps::TableInc> unacked, acked;
  };

  void Fail(const std::string& what) {
    if (failure_.empty()) {
      failure_ = absl::StrCat("seed ", config_.seed, ": ", what);
    }
  }

  // What stands in the table is what was acknowledged; of a dead worker also
  // what the server took and could not tell it any more.
  void CheckSum(int64_t row) {
    const absl::Span<const float> sums =
        servers_[row % config_.servers]->table.row(row);
    for (int q = 0; q < config_.workers && failure_.empty(); ++q) {
      const Worker& worker = workers_[q];
      float told = 0, open = 0;
      for (const auto& [id, inc] : worker.acked) told += Of(inc, row, q);
      for (const auto& [id, inc] : worker.unacked) open += Of(inc, row, q);
      const bool good = worker.alive
                            ? sums[q] == told && told == config_.clocks
                            : told <= sums[q] && sums[q] <= told + open;
      if (good) continue;
      Fail(absl::StrCat("the sum of worker ", q, " is ", sums[q], ", told ",
                        told, ", open ", open));
    }
  }
  float Of(const ps::TableInc& inc, int64_t row, int column) const {
    float sum = 0;
    for (size_t i = 0; i < inc.rows.size(); ++i) {
      if (inc.rows[i] == row) sum += inc.deltas[i * config_.workers + column];
    }
    return sum;
  }

  void TryRead(int rank) {
    Worker& worker = workers_[rank];
    if (!worker.alive) return;
    const int64_t clock = worker.client->clock();
    if (clock == config_.clocks) {
      worker.finished = true;
      return;
    }
    if (rank != config_.writer) {
      // One row after another: the cache may hold a single one.
      for (; worker.next_row < rows_.size(); ++worker.next_row) {
        const int64_t row = rows_[worker.next_row];
        const std::vector<float>* values = worker.client->Get(row);
        worker.blocked = values == nullptr;
        if (worker.blocked) return Ask(rank, worker.client->Fetch({row}));
        for (int q = 0; q < config_.workers; ++q) Check(rank, q, (*values)[q]);
      }
    }
    worker.blocked = false;
    queue_.After(0.5 + random_.Uniform() * (random_.Chance(0.2) ? 4 : 1),
                 [this, rank] { EndClock(rank); });
  }

  // c - s <= column <= c + s + 1 (a commit under way), one's own exactly c.
  // Nobody waits for the dead, nor for what a writer may run ahead.
  void Check(int rank, int column, float seen) {
    const int64_t clock = workers_[rank].client->clock();
    const int64_t slack = config_.staleness;
    const bool good =
        column == rank ? seen == clock
                       : (seen >= clock - slack || !workers_[column].alive) &&
                             (seen <= clock + slack + 1 ||
                              column == config_.writer);
    if (!good) {
      Fail(absl::StrCat("worker ", rank, " in clock ", clock, " sees ", seen,
                        " of worker ", column));
    }
  }
  // Fresh rows have just come: one's own writes are in them, also the open
  // ones.
  void CheckOwn(int rank) {
    Worker& worker = workers_[rank];
    for (int64_t row : rows_) {
      const std::vector<float>* values = worker.client->Get(row);
      if (values != nullptr && (*values)[rank] != worker.client->clock()) {
        Fail(absl::StrCat("worker ", rank, " lost its own writes"));
      }
    }
    if (worker.client->cached() > static_cast<size_t>(config_.cache_rows)) {
      Fail("the cache grows");
    }
  }

  void Ask(int rank, const std::vector<ps::TableClient::Request>& requests) {
    for (const ps::TableClient::Request& request : requests) {
      SendGet(rank, request);
    }
  }
  void SendGet(int rank, const ps::TableClient::Request& request) {
    Worker& worker = workers_[rank];
    if (!worker.alive || !worker.client->Open(request.get.request)) return;
    network_.Send([this, peer = worker.peer, request] {
      ParamTable& table = servers_[request.server]->table;
      if (table.Get(peer, request.get) != ps::Reason::kNone) {
        Fail("get refused");
      }
    });
    queue_.After(6, [this, rank, request] { SendGet(rank, request); });
  }

  void EndClock(int rank) {
    Worker& worker = workers_[rank];
    if (!worker.alive) return;
    for (int64_t row : rows_) worker.client->Inc(row, rank, 1);
    const int64_t clock = worker.client->clock();
    for (const auto& [server, inc] : worker.client->Tick()) {
      worker.unacked[{server, inc.sequence}] = inc;
      SendInc(rank, server, inc.sequence);
    }
    const bool last = clock + 1 == config_.clocks;
    for (int s = 0; s < config_.servers; ++s) {
      const uint64_t incs = worker.client->sent(s);
      network_.SendReliably([this, rank, s, clock, incs, last] {
        ParamTable& table = servers_[s]->table;
        if (!table.Tick(rank, clock, incs).ok()) Fail("tick refused");
        if (last) table.Finish(rank, incs);
      });
    }
    if (config_.eager && rank != config_.writer) {
      Ask(rank, worker.client->Refresh());
    }
    worker.next_row = 0;
    TryRead(rank);
  }

  void SendInc(int rank, int server, uint64_t sequence) {
    Worker& worker = workers_[rank];
    const auto at = worker.unacked.find({server, sequence});
    if (!worker.alive || at == worker.unacked.end()) return;
    network_.Send([this, rank, server, inc = at->second] {
      const ps::Reason reason = servers_[server]->table.Inc(inc);
      if (reason == ps::Reason::kFenced && rank == config_.dead) return;
      if (reason != ps::Reason::kNone && reason != ps::Reason::kDuplicate) {
        return Fail("increment refused");
      }
      network_.Send([this, rank, server, sequence = inc.sequence] {
        Acknowledge(rank, server, sequence);
      });
    });
    queue_.After(6, [this, rank, server, sequence] {
      SendInc(rank, server, sequence);
    });
  }
  void Acknowledge(int rank, int server, uint64_t sequence) {
    Worker& worker = workers_[rank];
    const auto at = worker.unacked.find({server, sequence});
    if (!worker.alive || at == worker.unacked.end()) return;
    worker.acked.insert(worker.unacked.extract(at));
    worker.client->OnAcknowledged(server, sequence);
  }

  // What the old connection asked for is forgotten there and asked again; what
  // is on its way to it arrives nowhere.
  void Reconnect(int rank) {
    Worker& worker = workers_[rank];
    if (!worker.alive) return;
    for (const auto& server : servers_) server->table.Detach(worker.peer);
    worker.peer += config_.workers;
  }
  void Die(int rank) {
    Worker& worker = workers_[rank];
    if (worker.finished) return;
    worker.alive = false;
    for (const auto& server : servers_) {
      queue_.After(1 + network_.Delay(), [this, rank, &server] {
        server->table.Remove(rank);
      });
    }
  }

  const TableConfig config_;
  SimRandom random_;
  EventQueue queue_;
  SimNetwork network_;
  std::vector<int64_t> rows_;
  std::vector<std::unique_ptr<Server>> servers_;
  std::vector<Worker> workers_;
  std::string failure_;
};

TEST(TableSimTest, HelloSspUnderEveryFault) {
  for (uint64_t seed = 0; seed < 10000; ++seed) {
    SimRandom random(seed * 77 + 5);
    TableConfig config;
    config.seed = seed;
    config.workers = 2 + random.Below(4);
    config.servers = 1 + random.Below(3);
    config.rows = 1 + random.Below(4);
    config.staleness = random.Below(4);
    config.clocks = 3 + random.Below(6);
    config.faults.max_delay = random.Chance(0.2) ? 0 : 3 * random.Uniform();
    config.faults.drop = random.Chance(0.5) ? 0.3 * random.Uniform() : 0;
    config.faults.duplicate = random.Chance(0.5) ? 0.3 * random.Uniform() : 0;
    config.sparse = random.Chance(0.3);
    config.eager = random.Chance(0.3);
    if (random.Chance(0.2)) config.cache_rows = 1 + random.Below(3);
    if (random.Chance(0.2)) config.writer = random.Below(config.workers);
    if (random.Chance(0.3)) config.reconnects = 1 + random.Below(3);
    if (random.Chance(0.3)) {
      config.dead = random.Below(config.workers);
      config.dies_at = config.clocks * 2 * random.Uniform();
    }
    TableSim sim(config);
    ASSERT_EQ(sim.Run(), "");
  }
}

}  // namespace
}  // namespace cssp
