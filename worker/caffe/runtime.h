// What every worker program sets up before it computes: threads that wait
// passively, all cores, a device and the layers.
#ifndef CSSP_WORKER_CAFFE_RUNTIME_H_
#define CSSP_WORKER_CAFFE_RUNTIME_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/device/device.h"
#include "common/launch/launch.h"
#include "worker/net/layer_registry.h"

namespace cssp {

// OpenMP reads its environment before main: where it does not say how threads
// wait, the program starts itself again with passive waiting (a spinning worker
// starves the others of its host).  First thing in main; returns when done.
void EnsurePassiveThreads(char** argv);

// PMIx and Slurm variables.
LaunchEnvironment ReadLaunchEnvironment();

// cores / ranks on this host, at least 1; `asked` > 0 overrides.
int ComputeThreads(int asked, int ranks_on_host);

// Device and layers.
struct Compute {
  std::unique_ptr<Device> device;
  LayerRegistry layers;
};

// Where the nets of a process stand, for layers that care.
struct NetPlace {
  std::string source;  // path of the solver or the model
  int rank = 0;        // of this worker, among `workers` that train
  int workers = 1;
};

// Adds layers beyond the built-in ones to a new Compute, which what they give
// away may keep alive.  Called before any net is made.
using LayerExtension = std::function<absl::Status(
    const std::shared_ptr<Compute>&, const NetPlace&)>;

// A program as it was called, and what surrounds it.
struct ProgramHost {
  std::string path;               // of the program; what belongs to it is beside
  std::vector<std::string> args;  // without the program
  // Set inside an interpreter (worker/python): layers in Python.  Empty: the
  // program stands alone and becomes an interpreter for nets that have some.
  LayerExtension extension;
};

// Of the running program; `argv0` where the system does not say.
std::string ProgramPath(const char* argv0);
// Without a slash at the end.
std::string FolderOf(const std::string& path);

struct ComputeOptions {
  // --gpu: "0", "0,2" or "all"; explicit, its absence is an error.  Of several,
  // this process takes the one at `host_rank`, modulo their number.
  std::string gpu;
  bool gpu_wanted = false;  // solver_mode: GPU; its absence is a warning
  int gpu_ordinal = 0;      // solver's device_id
  CudaOptions cuda;
  int host_rank = 0;  // among the job's processes on this host
  int host_ranks = 1;
  int threads = 1;       // on the CPU
  int data_threads = 0;  // of each data layer; 0: as many as `threads`
  bool quiet = false;    // no warning
  LayerExtension extension;
  NetPlace place;        // for the extension
};

// The device numbers that a --gpu names; "all" asks the machine.
// InvalidArgument: neither a number, nor a list of them, nor "all".
absl::StatusOr<std::vector<int>> NamedGpus(const std::string& gpu);

// NotFound, Unimplemented: a GPU asked for by --gpu.
absl::StatusOr<std::shared_ptr<Compute>> MakeCompute(
    const ComputeOptions& options);

// 31 random bits.
uint64_t DrawSeed();

std::string HostName();

}  // namespace cssp

#endif  // CSSP_WORKER_CAFFE_RUNTIME_H_
