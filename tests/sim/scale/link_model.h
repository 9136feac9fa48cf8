// How long bytes take between the nodes of a modelled cluster.
#ifndef CSSP_TESTS_SIM_SCALE_LINK_MODEL_H_
#define CSSP_TESTS_SIM_SCALE_LINK_MODEL_H_

#include <vector>

namespace cssp {

// Plain data.
struct ClusterShape {
  int workers = 1;
  // Servers on nodes of their own; 0: one on every worker's node.
  int dedicated = 0;
  double bytes_per_second = 7e9;  // each way, of every node's one link
  double latency = 5e-6;          // of a message, seconds
  // Summing and applying, bytes of gradient a second and server.
  double apply_bytes_per_second = 20e9;

  int servers() const { return dedicated > 0 ? dedicated : workers; }
};

// Thread-confined.  Every node has one link, full duplex, first come first
// served in either direction.  A chunk is striped over all servers in equal
// parts (a modelled chunk stands for the many chunks that the placement deals
// out), its stripes flow through: they enter a receiver while they still leave
// the sender.  What stays on a node takes no time.
class LinkModel {
 public:
  explicit LinkModel(const ClusterShape& shape);

  // `worker` sends `bytes` to the servers at `now`.
  struct Sent {
    double received = 0;  // when the last stripe is there
    double summed = 0;    // and counted
  };
  Sent Push(int worker, double bytes, double now);
  // The servers send `bytes` to `worker` at `now`: when the last stripe is
  // there.
  double Values(int worker, double bytes, double now);

 private:
  bool Local(int server, int worker) const {
    return shape_.dedicated == 0 && server == worker;
  }
  // Of the node that `server` runs on.
  int NodeOf(int server) const {
    return shape_.dedicated > 0 ? shape_.workers + server : server;
  }

  const ClusterShape shape_;
  std::vector<double> out_;    // by node: free to send again
  std::vector<double> in_;     // by node: free to receive again
  std::vector<double> apply_;  // by server
};

// The all-reduce that a ring makes of `bytes`, in seconds: 2 (n - 1) steps of
// bytes / n.
double RingSeconds(const ClusterShape& shape, double bytes);

}  // namespace cssp

#endif  // CSSP_TESTS_SIM_SCALE_LINK_MODEL_H_
