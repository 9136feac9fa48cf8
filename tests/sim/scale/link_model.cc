#include "tests/sim/scale/link_model.h"

#include <algorithm>

namespace cssp {

LinkModel::LinkModel(const ClusterShape& shape)
    : shape_(shape),
      out_(shape.workers + shape.dedicated),
      in_(shape.workers + shape.dedicated),
      apply_(shape.servers()) {}

LinkModel::Sent LinkModel::Push(int worker, double bytes, double now) {
  const double stripe = bytes / shape_.servers();
  const double seconds = stripe / shape_.bytes_per_second;
  Sent sent = {now, now};
  double& out = out_[worker];
  for (int i = 0; i < shape_.servers(); ++i) {
    // Each worker begins with another server, so that none is swamped.
    const int server = (worker + 1 + i) % shape_.servers();
    double there = now;
    if (!Local(server, worker)) {
      const double begin = std::max(out, now);
      out = begin + seconds;
      double& in = in_[NodeOf(server)];
      in = std::max(in, begin) + seconds;
      there = std::max(out, in) + shape_.latency;
    }
    apply_[server] = std::max(apply_[server], there) +
                     stripe / shape_.apply_bytes_per_second;
    sent.received = std::max(sent.received, there);
    sent.summed = std::max(sent.summed, apply_[server]);
  }
  return sent;
}

double LinkModel::Values(int worker, double bytes, double now) {
  const double stripe = bytes / shape_.servers();
  const double seconds = stripe / shape_.bytes_per_second;
  double last = now;
  double& in = in_[worker];
  for (int server = 0; server < shape_.servers(); ++server) {
    if (Local(server, worker)) continue;
    double& out = out_[NodeOf(server)];
    const double begin = std::max(out, now);
    out = begin + seconds;
    in = std::max(in, begin) + seconds;
    last = std::max(last, std::max(out, in) + shape_.latency);
  }
  return last;
}

double RingSeconds(const ClusterShape& shape, double bytes) {
  const double n = shape.workers;
  return 2 * (n - 1) *
         (bytes / n / shape.bytes_per_second + shape.latency);
}

}  // namespace cssp
