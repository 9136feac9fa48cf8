#include "tests/bench/data_plane/bench_models.h"

#include <signal.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "absl/strings/str_cat.h"
#include "common/base/logging.h"
#include "common/ps/layout_proto.h"
#include "server/coordinator/job_spec.h"
#include "server/service/shard_host.h"

namespace cssp::bench {
namespace {

control::OpenShardRequest OpenRequest(const Model& model) {
  control::OpenShardRequest request;
  request.set_job_id(absl::StrCat("bench-", model.job));
  request.set_job_number(model.job);
  request.set_token(kToken);
  control::JobSpec& spec = *request.mutable_spec();
  spec.set_workers(1);
  spec.set_staleness(kClocksInFlight - 1);
  caffe::SolverParameter& solver = *spec.mutable_solver();
  solver.set_base_lr(0.01f);
  solver.set_lr_policy("fixed");
  solver.set_momentum(0.9f);
  solver.set_weight_decay(0.0005f);
  solver.set_max_iter(1 << 30);
  const ps::SlabLayout layout = model.Layout();
  for (const ps::BlobSpec& blob : layout.blobs()) {
    *request.add_blobs() = ps::ToProto(blob);
  }
  control::ShardMap& map = *request.mutable_shard_map();
  map.set_chunk_bytes(static_cast<int32_t>(layout.chunk_bytes()));
  map.add_servers();
  for (size_t c = 0; c < layout.chunks().size(); ++c) map.add_chunk_server(0);
  return request;
}

}  // namespace

ps::SlabLayout Model::Layout() const {
  std::vector<ps::BlobSpec> specs;
  for (int b = 0; b < blobs; ++b) {
    specs.push_back(
        {.key = absl::StrCat("blob", b), .shape = {floats}, .count = floats});
  }
  return ps::SlabLayout::Create(std::move(specs), chunk_bytes).value();
}

std::vector<Model> Models(int64_t chunk_bytes) {
  const int64_t kib = 1024 / sizeof(float);
  std::vector<Model> models = {{.blobs = 1, .floats = 64 * kib},
                               {.blobs = 1, .floats = 1024 * kib},
                               {.blobs = 1, .floats = 32 * 1024 * kib},
                               {.blobs = 8, .floats = 1024 * kib},
                               {.blobs = 100, .floats = 4 * kib},
                               {.blobs = 1, .floats = 1024 * kib}};
  for (size_t i = 0; i < models.size(); ++i) {
    models[i].job = static_cast<uint32_t>(i + 1);
    Model& model = models[i];
    model.chunk_bytes =
        chunk_bytes > 0 ? chunk_bytes : DefaultChunkBytes(model.bytes(), 1);
  }
  return models;
}

TransportOptions Options(const std::string& transports) {
  TransportOptions options;
  options.devices = "lo";
  options.transports = transports;
  return options;
}

Process Fork(const std::function<void(int fd)>& body) {
  int fds[2];
  CHECK_EQ(pipe(fds), 0) << "no pipe";
  Process process;
  process.pid = fork();
  CHECK_GE(process.pid, 0) << "no process";
  if (process.pid == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    close(fds[0]);
    body(fds[1]);
    _exit(1);
  }
  close(fds[1]);
  char address[100] = {};
  CHECK_GT(read(fds[0], address, sizeof(address) - 1), 0) << "no address";
  close(fds[0]);
  process.address = address;
  return process;
}

double CpuSeconds(int pid) {
  double nanoseconds = 0;
  std::error_code error;
  for (const auto& task : std::filesystem::directory_iterator(
           absl::StrCat("/proc/", pid, "/task"), error)) {
    double of_task = 0;
    std::ifstream(task.path() / "schedstat") >> of_task;
    nanoseconds += of_task;
  }
  return nanoseconds / 1e9;
}

Process ForkServer(const std::string& transports,
                   const std::vector<Model>& models) {
  return Fork([&](int fd) {
    ShardHostOptions options;
    options.transport = Options(transports);
    const auto host = ShardHost::Start(std::move(options)).value();
    for (const Model& model : models) {
      const auto opened = host->Open(OpenRequest(model));
      CHECK(opened.ok()) << opened.status();
    }
    const std::string address = host->data_address();
    CHECK_GT(write(fd, address.data(), address.size()), 0);
    close(fd);
    while (true) pause();
  });
}

}  // namespace cssp::bench
