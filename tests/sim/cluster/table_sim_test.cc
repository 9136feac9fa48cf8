// SSP tables in virtual time over a bad network: the bound, read-my-writes and
// conservation.
#include <memory>
#include <set>
#include <string>

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
  NetworkFaults faults;
};

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
    for (int rank = 0; rank < config_.workers; ++rank) {
      ps::TableClient::Options options;
      options.width = config_.workers;
      options.servers = config_.servers;
      options.rank = rank;
      options.staleness = config_.staleness;
      workers_[rank].client = std::make_unique<ps::TableClient>(options);
    }
  }

  std::string Run() {
    for (int rank = 0; rank < config_.workers; ++rank) TryRead(rank);
    while (failure_.empty() && queue_.Step()) {
    }
    for (int rank = 0; rank < config_.workers && failure_.empty(); ++rank) {
      if (!workers_[rank].finished) Fail(absl::StrCat("deadlock of ", rank));
    }
    for (int row = 0; row < config_.rows && failure_.empty(); ++row) {
      for (float sum : servers_[row % config_.servers]->table.row(row)) {
        if (sum != config_.clocks) Fail(absl::StrCat("the sum is ", sum));
      }
    }
    return failure_;
  }

 private:
  struct Server : TableOutput {
    Server(TableSim& sim, int index)
        : sim(sim),
          table(*ParamTable::Create({.rows = sim.config_.rows,
                                     .width = sim.config_.workers,
                                     .workers = sim.config_.workers,
                                     .staleness = sim.config_.staleness,
                                     .servers = sim.config_.servers,
                                     .self = index},
                                    *this)) {}
    void SendRows(PeerId peer, const ps::TableRows& rows) override {
      sim.network_.Send([this, peer, rows] {
        Worker& worker = sim.workers_[peer];
        worker.client->OnRows(rows);
        sim.CheckOwn(peer);
        if (worker.blocked) sim.TryRead(peer);
      });
    }
    TableSim& sim;
    ParamTable table;
  };
  struct Worker {
    std::unique_ptr<ps::TableClient> client;
    bool blocked = false;
    bool finished = false;
    std::set<std::pair<int, uint64_t>> unacked;  // server, sequence
  };

  void Fail(const std::string& what) {
    if (failure_.empty()) {
      failure_ = absl::StrCat("seed ", config_.seed, ": ", what);
    }
  }

  void TryRead(int rank) {
    Worker& worker = workers_[rank];
    const int64_t clock = worker.client->clock();
    if (clock == config_.clocks) {
      worker.finished = true;
      return;
    }
    bool readable = true;
    for (int row = 0; row < config_.rows; ++row) {
      const std::vector<float>* values = worker.client->Get(row);
      if (values == nullptr) {
        readable = false;
        if (!worker.blocked) Fetch(rank, row, clock);
        continue;
      }
      for (int q = 0; q < config_.workers; ++q) Check(rank, q, (*values)[q]);
    }
    worker.blocked = !readable;
    if (!readable) return;
    queue_.After(0.5 + random_.Uniform() * (random_.Chance(0.2) ? 4 : 1),
                 [this, rank] { EndClock(rank); });
  }

  // c - s <= column <= c + s + 1 (a commit under way), one's own exactly c.
  void Check(int rank, int column, float seen) {
    const int64_t clock = workers_[rank].client->clock();
    const bool good = column == rank
                          ? seen == clock
                          : seen >= clock - config_.staleness &&
                                seen <= clock + config_.staleness + 1;
    if (!good) {
      Fail(absl::StrCat("worker ", rank, " in clock ", clock, " sees ", seen,
                        " of worker ", column));
    }
  }
  // Fresh rows have just come: one's own writes are in them, also the open
  // ones.
  void CheckOwn(int rank) {
    Worker& worker = workers_[rank];
    for (int row = 0; row < config_.rows; ++row) {
      const std::vector<float>* values = worker.client->Get(row);
      if (values != nullptr && (*values)[rank] != worker.client->clock()) {
        Fail(absl::StrCat("worker ", rank, " lost its own writes"));
      }
    }
  }

  void Fetch(int rank, int row, int64_t clock) {
    Worker& worker = workers_[rank];
    if (worker.finished || worker.client->clock() != clock ||
        worker.client->Get(row) != nullptr) {
      return;
    }
    const ps::TableGet get = worker.client->Fetch(row);
    network_.Send([this, rank, row, get] {
      ParamTable& table = servers_[row % config_.servers]->table;
      if (table.Get(rank, get) != ps::Reason::kNone) Fail("get refused");
    });
    queue_.After(6, [this, rank, row, clock] { Fetch(rank, row, clock); });
  }

  void EndClock(int rank) {
    Worker& worker = workers_[rank];
    for (int row = 0; row < config_.rows; ++row) {
      worker.client->Inc(row, rank, 1);
    }
    const int64_t clock = worker.client->clock();
    for (const auto& [server, inc] : worker.client->Tick()) {
      worker.unacked.insert({server, inc.sequence});
      SendInc(rank, server, inc);
    }
    const bool last = clock + 1 == config_.clocks;
    for (int s = 0; s < config_.servers; ++s) {
      const uint64_t incs = worker.client->sent(s);
      network_.SendReliably([this, rank, s, clock, incs, last] {
        ParamTable& table = servers_[s]->table;
        if (!table.Tick(rank, clock, incs).ok()) Fail("tick refused");
      });
    }
    TryRead(rank);
  }

  void SendInc(int rank, int server, const ps::TableInc& inc) {
    if (workers_[rank].unacked.count({server, inc.sequence}) == 0) return;
    network_.Send([this, rank, server, inc] {
      const ps::Reason reason = servers_[server]->table.Inc(inc);
      if (reason != ps::Reason::kNone && reason != ps::Reason::kDuplicate) {
        return Fail("increment refused");
      }
      network_.Send([this, rank, server, sequence = inc.sequence] {
        workers_[rank].unacked.erase({server, sequence});
      });
    });
    queue_.After(6, [this, rank, server, inc] { SendInc(rank, server, inc); });
  }

  const TableConfig config_;
  SimRandom random_;
  EventQueue queue_;
  SimNetwork network_;
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
    TableSim sim(config);
    ASSERT_EQ(sim.Run(), "");
  }
}

}  // namespace
}  // namespace cssp
