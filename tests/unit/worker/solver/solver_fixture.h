// A solver of a small net on random data.
#ifndef CSSP_TESTS_UNIT_WORKER_SOLVER_SOLVER_FIXTURE_H_
#define CSSP_TESTS_UNIT_WORKER_SOLVER_SOLVER_FIXTURE_H_

#include <stdlib.h>

#include <filesystem>
#include <memory>
#include <string>

#include "absl/strings/str_cat.h"
#include "common/model_file/prototxt.h"
#include "gtest/gtest.h"
#include "worker/layers/builtin_layers.h"
#include "worker/solver/solver.h"

namespace cssp {

// y = x W + b against random targets: the gradient never vanishes.
inline constexpr char kLinearNet[] = R"(
name: 'linear'
layer { name: 'x' type: 'DummyData' top: 'x' top: 'y'
  dummy_data_param { shape { dim: 4 dim: 6 } shape { dim: 4 dim: 3 }
    data_filler { type: 'gaussian' std: 1 }
    data_filler { type: 'gaussian' std: 1 } } }
layer { name: 'ip' type: 'InnerProduct' bottom: 'x' top: 'ip'
  param { lr_mult: 1 decay_mult: 1 } param { lr_mult: 2 decay_mult: 0 }
  inner_product_param { num_output: 3 weight_filler { type: 'gaussian' std: 1 }
    bias_filler { type: 'constant' value: 0.5 } } }
layer { name: 'loss' type: 'EuclideanLoss' bottom: 'ip' bottom: 'y'
  top: 'loss' }
)";

class SolverFixture : public testing::Test {
 protected:
  SolverFixture() {
    std::string pattern = "/tmp/cssp-solver-XXXXXX";
    folder_ = mkdtemp(pattern.data());
    EXPECT_TRUE(RegisterCpuLayers(layers_).ok());
  }
  ~SolverFixture() override { std::filesystem::remove_all(folder_); }

  caffe::SolverParameter Param(const std::string& fields,
                               const std::string& net = kLinearNet) {
    caffe::SolverParameter param;
    EXPECT_EQ(ParseText(fields, "solver", &param), absl::OkStatus());
    EXPECT_EQ(ParseText(net, "net", param.mutable_net_param()),
              absl::OkStatus());
    param.set_snapshot_prefix(folder_ + "/snap");
    param.set_solver_mode(caffe::SolverParameter::CPU);
    return param;
  }
  absl::StatusOr<std::unique_ptr<Solver>> Make(
      const caffe::SolverParameter& param, SolverActions* actions = nullptr) {
    SolverOptions options;
    options.seed = 5;
    options.actions = actions;
    return Solver::Create(param, layers_, *device_, options);
  }

  std::string folder_;
  LayerRegistry layers_;
  std::unique_ptr<Device> device_ = MakeCpuDevice(1);
};

}  // namespace cssp

#endif  // CSSP_TESTS_UNIT_WORKER_SOLVER_SOLVER_FIXTURE_H_
