#include "worker/caffe/runtime.h"

#include <limits.h>
#include <stdlib.h>
#include <unistd.h>

#include <algorithm>
#include <random>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "common/base/logging.h"
#include "common/base/status_macros.h"
#include "common/config/environment.h"
#include "worker/layers/builtin_layers.h"

namespace cssp {
namespace {

absl::StatusOr<std::unique_ptr<Device>> ExplicitGpu(
    const ComputeOptions& options) {
  const absl::StatusOr<std::vector<int>> gpus = NamedGpus(options.gpu);
  if (!gpus.ok() && !absl::IsInvalidArgument(gpus.status()))
    return Annotate(gpus.status(), absl::StrCat("--gpu ", options.gpu));
  RETURN_IF_ERROR(gpus.status());
  if (gpus->empty())
    return absl::NotFoundError("--gpu all: this machine has no GPU");
  if (gpus->size() > 1 && options.host_ranks == 1)
    return absl::UnimplementedError(absl::StrCat(
        "--gpu ", options.gpu, " names ", gpus->size(),
        " GPUs, but a process trains on one: start one process per GPU, "
        "mpirun -n ",
        gpus->size() + 1, " caffe train --gpu ", options.gpu));
  return MakeCudaDevice((*gpus)[options.host_rank % gpus->size()],
                        options.cuda);
}

absl::StatusOr<std::unique_ptr<Device>> ChooseDevice(
    const ComputeOptions& options) {
  if (!options.gpu.empty()) return ExplicitGpu(options);
  if (options.gpu_wanted) {
    absl::StatusOr<std::unique_ptr<Device>> gpu =
        MakeCudaDevice(options.gpu_ordinal, options.cuda);
    if (gpu.ok()) return gpu;
    if (!options.quiet)
      LOG(WARNING) << "solver_mode is GPU: " << gpu.status().message()
                   << "; going on on the CPU";
  }
  return MakeCpuDevice(options.threads);
}

}  // namespace

void EnsurePassiveThreads(char** argv) {
  if (EnvironmentVariable("OMP_WAIT_POLICY").has_value()) return;
  setenv("OMP_WAIT_POLICY", "passive", 1);
  setenv("GOMP_SPINCOUNT", "0", 0);
  execv("/proc/self/exe", argv);
  // No /proc: slower with several workers on a host, not wrong.
}

LaunchEnvironment ReadLaunchEnvironment() {
  LaunchEnvironment environment;
  environment.has_pmix = EnvironmentVariable("PMIX_RANK").has_value() &&
                         EnvironmentVariable("PMIX_NAMESPACE").has_value();
  int tasks = 0;
  // SLURM_NTASKS is also set in a batch script; a step has SLURM_PROCID.
  if (EnvironmentVariable("SLURM_STEP_ID").has_value() &&
      absl::SimpleAtoi(EnvironmentVariable("SLURM_NTASKS").value_or(""),
                       &tasks))
    environment.slurm_tasks = tasks;
  return environment;
}

int ComputeThreads(int asked, int ranks_on_host) {
  if (asked > 0) return asked;
  return std::max(1, AvailableCores() / std::max(1, ranks_on_host));
}

absl::StatusOr<std::vector<int>> NamedGpus(const std::string& gpu) {
  std::vector<int> ordinals;
  if (gpu == "all") {
    ASSIGN_OR_RETURN(const std::vector<std::string> gpus,
                     DescribeCudaDevices());
    for (size_t i = 0; i < gpus.size(); ++i)
      ordinals.push_back(static_cast<int>(i));
    return ordinals;
  }
  for (const std::string& id :
       std::vector<std::string>(absl::StrSplit(gpu, ','))) {
    int ordinal = 0;
    if (!absl::SimpleAtoi(id, &ordinal) || ordinal < 0)
      return absl::InvalidArgumentError(absl::StrCat(
          "--gpu must be a device number, a list of them or 'all', not '", gpu,
          "'"));
    ordinals.push_back(ordinal);
  }
  return ordinals;
}

absl::StatusOr<std::shared_ptr<Compute>> MakeCompute(
    const ComputeOptions& options) {
  auto compute = std::make_shared<Compute>();
  ASSIGN_OR_RETURN(compute->device, ChooseDevice(options));
  const DataOptions data{options.data_threads > 0 ? options.data_threads
                                                  : options.threads};
  RETURN_IF_ERROR(RegisterCpuLayers(compute->layers, data));
  RETURN_IF_ERROR(RegisterCudaLayers(compute->layers, data));
  if (options.extension)
    RETURN_IF_ERROR(options.extension(compute, options.place));
  return compute;
}

uint64_t DrawSeed() {
  std::random_device random;
  return random() & 0x7fffffffu;
}

std::string HostName() {
  char name[HOST_NAME_MAX + 1] = {};
  gethostname(name, HOST_NAME_MAX);
  return name;
}

std::string ProgramPath(const char* argv0) {
  char path[PATH_MAX];
  const ssize_t size = readlink("/proc/self/exe", path, sizeof(path));
  return size > 0 ? std::string(path, static_cast<size_t>(size)) : argv0;
}

std::string FolderOf(const std::string& path) {
  const size_t slash = path.rfind('/');
  return slash == std::string::npos ? "." : path.substr(0, slash);
}

}  // namespace cssp
