#include "common/metrics/exposer.h"

#include <arpa/inet.h>
#include <dlfcn.h>
#include <netinet/in.h>
#include <prometheus/collectable.h>
#include <prometheus/exposer.h>
#include <prometheus/metric_family.h>
#include <pthread.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <exception>
#include <limits>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/time/clock.h"
#include "common/base/thread.h"
#include "common/metrics/process_stats.h"

namespace cssp {
namespace {

using prometheus::ClientMetric;
using prometheus::MetricFamily;
using prometheus::MetricType;

ClientMetric::Histogram Cumulated(const Histogram& histogram) {
  ClientMetric::Histogram out;
  const std::vector<uint64_t> counts = histogram.counts();
  for (size_t i = 0; i < counts.size(); ++i) {
    out.sample_count += counts[i];
    const double bound = i < histogram.bounds().size()
                             ? histogram.bounds()[i]
                             : std::numeric_limits<double>::infinity();
    out.bucket.push_back({out.sample_count, bound});
  }
  out.sample_sum = histogram.sum();
  return out;
}

MetricFamily Convert(const MetricsRegistry::Family& family) {
  MetricFamily out{family.name, family.help, MetricType::Gauge, {}};
  for (const MetricsRegistry::Series& series : family.series) {
    ClientMetric& metric = out.metric.emplace_back();
    for (const auto& [name, value] : series.labels) {
      metric.label.push_back({name, value});
    }
    if (series.counter != nullptr) {
      out.type = MetricType::Counter;
      metric.counter.value = series.counter->value();
    } else if (series.gauge != nullptr) {
      metric.gauge.value = series.gauge->value();
    } else if (series.histogram != nullptr) {
      out.type = MetricType::Histogram;
      metric.histogram = Cumulated(*series.histogram);
    }
  }
  return out;
}

void AppendProcess(std::vector<MetricFamily>& out) {
  const absl::StatusOr<ProcessStats> stats = ReadProcessStats();
  if (!stats.ok()) return;
  const auto add = [&out](const char* name, const char* help, MetricType type,
                          double value) {
    ClientMetric metric;
    metric.counter.value = value;
    metric.gauge.value = value;
    out.push_back({name, help, type, {metric}});
  };
  add("process_cpu_seconds_total", "User and system CPU time.",
      MetricType::Counter, stats->cpu_seconds);
  add("process_start_time_seconds", "Start time since the Unix epoch.",
      MetricType::Gauge, stats->start_time_seconds);
  add("process_resident_memory_bytes", "Resident memory.", MetricType::Gauge,
      stats->resident_memory_bytes);
  add("process_virtual_memory_bytes", "Virtual memory.", MetricType::Gauge,
      stats->virtual_memory_bytes);
  add("process_open_fds", "Open file descriptors.", MetricType::Gauge,
      stats->open_fds);
  add("process_max_fds", "Limit of open file descriptors.", MetricType::Gauge,
      stats->max_fds);
}

// Thread-safe: reads a registry that is.
class RegistryCollectable final : public prometheus::Collectable {
 public:
  explicit RegistryCollectable(const MetricsRegistry& registry)
      : registry_(registry) {}

  std::vector<MetricFamily> Collect() const override {
    std::vector<MetricFamily> out;
    for (const MetricsRegistry::Family& family : registry_.Snapshot()) {
      out.push_back(Convert(family));
    }
    AppendProcess(out);
    return out;
  }

 private:
  const MetricsRegistry& registry_;
};

void ConnectOnce(const std::string& host, int port) {
  sockaddr_in to{};
  to.sin_family = AF_INET;
  to.sin_port = htons(port);
  if (inet_pton(AF_INET, host.c_str(), &to.sin_addr) != 1) return;
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0) return;
  connect(fd, reinterpret_cast<const sockaddr*>(&to), sizeof(to));
  close(fd);
}

// Thread-safe, see MetricsExposer.
class PrometheusExposer final : public MetricsExposer {
 public:
  PrometheusExposer(const std::string& host, int port,
                    const MetricsRegistry& registry)
      : collectable_(std::make_shared<RegistryCollectable>(registry)),
        exposer_(std::make_unique<prometheus::Exposer>(
            absl::StrCat(host, ":", port))),
        host_(host),
        port_(exposer_->GetListeningPorts().front()),
        address_(absl::StrCat(host, ":", port_)) {
    exposer_->RegisterCollectable(collectable_);
  }
  // The HTTP library looks at its stop signal every 2 s or when somebody
  // connects: so somebody does, and programs end at once.
  ~PrometheusExposer() override {
    std::atomic<bool> stopped{false};
    Thread caller("metrics-stop", [this, &stopped] {
      for (; !stopped; absl::SleepFor(absl::Milliseconds(5))) {
        ConnectOnce(host_, port_);
      }
    });
    exposer_.reset();
    stopped = true;
  }
  int port() const override { return port_; }
  const std::string& address() const override { return address_; }

 private:
  std::shared_ptr<RegistryCollectable> collectable_;
  std::unique_ptr<prometheus::Exposer> exposer_;
  const std::string host_;
  const int port_;
  const std::string address_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<MetricsExposer>> MetricsExposer::Create(
    const std::string& host, int port, const MetricsRegistry& registry) {
  if (port < 0 || port > 65535) {
    return absl::InvalidArgumentError(
        absl::StrFormat("metrics port %d is not within 0..65535", port));
  }
  // prometheus-cpp reports a port in use by an exception; it ends here.
  try {
    return std::make_unique<PrometheusExposer>(host, port, registry);
  } catch (const std::exception&) {
    return absl::AlreadyExistsError(absl::StrFormat(
        "metrics: cannot listen on %s:%d (in use, or not an address of this "
        "host)",
        host, port));
  }
}

}  // namespace cssp

// The HTTP library gives its threads stacks of 100 KiB, where glibc also places
// the static thread-local data of every library: beside cuBLAS, which has 94 KB
// of it, none could start, and the port would seem to be in use.  This is found
// before glibc's function and asks for enough.
extern "C" int pthread_attr_setstacksize(pthread_attr_t* attributes,
                                         size_t bytes) noexcept {
  constexpr size_t kEnough = size_t{1} << 20;
  using Set = int (*)(pthread_attr_t*, size_t);
  static const auto set =
      reinterpret_cast<Set>(dlsym(RTLD_NEXT, "pthread_attr_setstacksize"));
  return set(attributes, std::max(bytes, kEnough));
}
