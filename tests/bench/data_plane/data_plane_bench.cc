// data_plane: one server process and one worker process, the real code on both
// sides, beside bare UCX under the same settings in the same minute.
//
//   data_plane [--json] [--rounds=5] [--seconds=0.25] [--chunk_bytes=0]
//              [--only=SUBSTRING]
//
// Every round measures each row's limit and then the row; medians over rounds.
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "common/base/logging.h"
#include "common/base/time_source.h"
#include "tests/bench/data_plane/apply_kernel.h"
#include "tests/bench/data_plane/bare_ucx.h"
#include "tests/bench/data_plane/bench_models.h"
#include "tests/bench/data_plane/bench_worker.h"

namespace cssp::bench {
namespace {

constexpr int64_t kKib = 1024, kMib = 1024 * kKib;
constexpr int kTripsAtOnce = 50;

struct Args {
  bool json = false;
  int rounds = 5;
  double seconds = 0.25;
  int64_t chunk_bytes = 0;  // 0: what a job of that size gets
  std::string only;
};

// What was read, and the processor time that it took, in seconds a GB: of the
// busier of the two processes.  On a busy host that tells more than the clock.
struct Sample {
  double value = 0;
  double busy = 0;
};

struct Row {
  std::string measure, transport;
  int64_t bytes = 0;
  const char* unit = "GB/s";
  std::function<Sample()> value, limit;
  std::vector<Sample> values, limits;
};

double Median(std::vector<double> v) {
  std::sort(v.begin(), v.end());
  const size_t half = v.size() / 2;
  return v.size() % 2 == 1 ? v[half] : (v[half - 1] + v[half]) / 2;
}

double Median(const std::vector<Sample>& samples) {
  std::vector<double> v;
  for (const Sample& sample : samples) v.push_back(sample.value);
  return Median(std::move(v));
}

// Bytes a second of `body`, in GB/s, with this process and `other` as ends.
template <class Body>
Sample Measured(int other, Body body) {
  const int pids[] = {getpid(), other};
  double before[2], busy = 0;
  for (int i = 0; i < 2; ++i) before[i] = CpuSeconds(pids[i]);
  const absl::Time begin = TimeSource::Real().Now();
  const double rate = body() / 1e9;
  const double gigabytes =
      rate * absl::ToDoubleSeconds(TimeSource::Real().Now() - begin);
  for (int i = 0; i < 2; ++i) {
    busy = std::max(busy, CpuSeconds(pids[i]) - before[i]);
  }
  return {rate, busy / gigabytes};
}

// Processes are forked first, before UCX or a thread is started here.
class Bench {
 public:
  explicit Bench(const Args& args)
      : args_(args),
        slice_(absl::Seconds(args.seconds)),
        models_(Models(args.chunk_bytes)) {
    for (const char* name : {"tcp", "shm"}) {
      Side& side = sides_[name];
      side.transports =
          name == std::string("tcp") ? "tcp" : "tcp,sysv,posix,self";
      side.server = ForkServer(side.transports, models_);
      side.receiver = ForkBareReceiver(side.transports);
    }
  }

  std::vector<Row> Rows() {
    std::vector<Row> rows;
    for (int model = 0; model < 3; ++model) {
      rows.push_back(Stream("push", "tcp", model, Load::kPush));
      rows.push_back(Stream("push_apply", "tcp", model, Load::kPushApply));
    }
    rows.push_back(Stream("push_pull", "tcp", 5, Load::kPushPull));
    rows.push_back(Stream("push_pull", "tcp", 3, Load::kPushPull));
    rows.push_back(Trip());
    for (int model = 0; model < 3; ++model) {
      rows.push_back(Stream("push_apply", "shm", model, Load::kPushApply));
      rows.push_back(Stream("pull", "shm", model, Load::kPull));
    }
    rows.push_back(Apply("apply", /*in_place=*/true));
    rows.push_back(Apply("apply_beside", /*in_place=*/false));
    std::erase_if(rows, [this](const Row& row) {
      return !absl::StrContains(
          absl::StrCat(row.measure, "-", row.transport, "-", row.bytes),
          args_.only);
    });
    return rows;
  }

  std::string Carrier(const std::string& transport) {
    for (auto& [key, worker] : workers_) {
      if (key.first == transport) return worker->Describe();
    }
    return "";
  }

 private:
  struct Side {
    std::string transports;
    Process server, receiver;
    std::unique_ptr<BareSender> sender;
  };

  BenchWorker& Worker(const std::string& transport, int model, bool subscribe) {
    std::unique_ptr<BenchWorker>& worker = workers_[{transport, model}];
    if (worker == nullptr) {
      const Side& side = sides_[transport];
      worker = std::make_unique<BenchWorker>(models_[model], side.transports,
                                             side.server.address, subscribe);
    }
    return *worker;
  }

  Sample Bare(const std::string& transport, int64_t bytes) {
    Side& side = sides_[transport];
    if (side.sender == nullptr) {
      side.sender =
          std::make_unique<BareSender>(side.transports, side.receiver.address);
      side.sender->Rate(64 * kKib, absl::Milliseconds(100));  // connected
    }
    return Measured(side.receiver.pid,
                    [&] { return side.sender->Rate(bytes, slice_); });
  }

  Row Stream(const char* measure, const char* transport, int model, Load load) {
    const int64_t bytes = models_[model].bytes();
    return {.measure = measure,
            .transport = transport,
            .bytes = bytes,
            .value =
                [=, this] {
                  BenchWorker& worker =
                      Worker(transport, model, load == Load::kPushPull);
                  return Measured(sides_[transport].server.pid,
                                  [&] { return worker.Run(load, slice_); });
                },
            .limit = [=, this] { return Bare(transport, bytes); }};
  }

  // The limit: the same loads and stores without the arithmetic.
  Row Apply(const char* measure, bool in_place) {
    return {.measure = measure,
            .transport = "none",
            .bytes = kMib,
            .value =
                [=, this] {
                  return Sample{ApplyRate(kMib, in_place, slice_) / 1e9};
                },
            .limit =
                [=, this] {
                  return Sample{ApplyLimit(kMib, in_place, slice_) / 1e9};
                }};
  }

  // The limit: the bytes there and back at the bare rate.
  Row Trip() {
    const int64_t bytes = models_[4].bytes();
    return {.measure = "round_trip_100_blobs",
            .transport = "tcp",
            .bytes = bytes,
            .unit = "ms",
            .value =
                [this] {
                  const double seconds =
                      Worker("tcp", 4, true).RoundTrip(kTripsAtOnce);
                  return Sample{seconds * 1e3};
                },
            .limit =
                [=, this] {
                  const double rate = Bare("tcp", bytes).value;
                  return Sample{2e-6 * static_cast<double>(bytes) / rate};
                }};
  }

  const Args args_;
  const absl::Duration slice_;
  const std::vector<Model> models_;
  std::map<std::string, Side> sides_;
  std::map<std::pair<std::string, int>, std::unique_ptr<BenchWorker>> workers_;
};

void Print(const Args& args, const Row& row) {
  const double value = Median(row.values), limit = Median(row.limits);
  if (args.json) {
    std::printf(
        "{\"measure\": \"%s\", \"transport\": \"%s\", \"bytes\": %ld, "
        "\"value\": %.4g, \"unit\": \"%s\", \"limit\": %.4g}\n",
        row.measure.c_str(), row.transport.c_str(),
        static_cast<long>(row.bytes), value, row.unit, limit);
    return;
  }
  std::vector<double> ratios, busy, cpu_ratios;
  for (size_t i = 0; i < row.values.size(); ++i) {
    ratios.push_back(row.values[i].value / row.limits[i].value);
    busy.push_back(row.values[i].busy);
    cpu_ratios.push_back(row.limits[i].busy / row.values[i].busy);
  }
  std::printf("%-21s %-4s %9ld  %7.3f %-4s limit %7.3f ratio %5.2f",
              row.measure.c_str(), row.transport.c_str(),
              static_cast<long>(row.bytes), value, row.unit, limit,
              Median(ratios));
  if (Median(busy) > 0) {
    std::printf("  busier side %4.0f ms/GB, ratio %4.2f", Median(busy) * 1e3,
                Median(cpu_ratios));
  }
  std::printf("\n");
}

int Run(const Args& args) {
  Bench bench(args);
  std::vector<Row> rows = bench.Rows();
  for (Row& row : rows) row.value();  // connected, initialised, touched
  for (int round = 0; round < args.rounds; ++round) {
    for (Row& row : rows) {
      row.limits.push_back(row.limit());
      row.values.push_back(row.value());
    }
  }
  if (!args.json) {
    for (const char* transport : {"tcp", "shm"}) {
      std::printf("%s: %s\n", transport, bench.Carrier(transport).c_str());
    }
  }
  for (const Row& row : rows) Print(args, row);
  return 0;
}

bool Parse(absl::string_view arg, Args* args) {
  if (arg == "--json") return args->json = true;
  if (absl::ConsumePrefix(&arg, "--rounds="))
    return absl::SimpleAtoi(arg, &args->rounds) && args->rounds > 0;
  if (absl::ConsumePrefix(&arg, "--seconds="))
    return absl::SimpleAtod(arg, &args->seconds) && args->seconds > 0;
  if (absl::ConsumePrefix(&arg, "--chunk_bytes="))
    return absl::SimpleAtoi(arg, &args->chunk_bytes);
  if (!absl::ConsumePrefix(&arg, "--only=")) return false;
  args->only = std::string(arg);
  return true;
}

}  // namespace
}  // namespace cssp::bench

int main(int argc, char** argv) {
  cssp::InitLogging(argv[0]);
  cssp::bench::Args args;
  for (int i = 1; i < argc; ++i) {
    if (cssp::bench::Parse(argv[i], &args)) continue;
    std::fprintf(stderr,
                 "data_plane [--json] [--rounds=5] [--seconds=0.25] "
                 "[--chunk_bytes=0] [--only=SUBSTRING]\n");
    return 2;
  }
  return cssp::bench::Run(args);
}
