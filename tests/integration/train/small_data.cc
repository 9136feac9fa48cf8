#include "tests/integration/train/small_data.h"

#include <cstdio>
#include <random>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/substitute.h"
#include "common/base/logging.h"
#include "common/base/status_macros.h"
#include "common/model_file/prototxt.h"
#include "worker/data/datum_writer.h"

namespace cssp {

absl::Status MakeSmallBase(const std::string& path) {
  ASSIGN_OR_RETURN(std::unique_ptr<DatumWriter> writer,
                   CreateBase(BaseFormat::kLmdb, path));
  std::mt19937 random(3);
  for (int i = 0; i < 90; ++i) {
    caffe::Datum datum;
    datum.set_channels(3);
    datum.set_height(12);
    datum.set_width(12);
    datum.set_label(static_cast<int>(random() % 5));
    std::string pixels(3 * 12 * 12, '\0');
    for (char& pixel : pixels)
      pixel = static_cast<char>(random() % 180 + 15 * datum.label());
    datum.set_data(pixels);
    RETURN_IF_ERROR(
        writer->Put(absl::StrFormat("%05d", i), datum.SerializeAsString()));
  }
  return writer->Commit();
}

std::string SmallNet(const std::string& base, int batch,
                     const std::string& layers, bool smooth) {
  return absl::Substitute(
      R"(name: 'small'
layer { name: 'data' type: 'Data' top: 'data' top: 'label'
  transform_param { scale: 0.01 mean_value: 100 }
  data_param { source: '$0' batch_size: $1 backend: LMDB } }
layer { name: 'conv1' type: 'Convolution' bottom: 'data' top: 'conv1'
  param { lr_mult: 1 } param { lr_mult: 2 decay_mult: 0 }
  convolution_param { num_output: 16 kernel_size: 3 pad: 1
    weight_filler { type: 'xavier' } bias_filler { type: 'constant' } } }
$2
layer { name: 'act1' type: '$3' bottom: 'conv1' top: 'conv1' }
layer { name: 'pool1' type: 'Pooling' bottom: 'conv1' top: 'pool1'
  pooling_param { pool: $4 kernel_size: 2 stride: 2 } }
layer { name: 'ip1' type: 'InnerProduct' bottom: 'pool1' top: 'ip1'
  param { lr_mult: 1 } param { lr_mult: 2 decay_mult: 0.5 }
  inner_product_param { num_output: 45 weight_filler { type: 'xavier' } } }
layer { name: 'act2' type: '$3' bottom: 'ip1' top: 'ip1' }
layer { name: 'ip2' type: 'InnerProduct' bottom: 'ip1' top: 'ip2'
  inner_product_param { num_output: 5
    weight_filler { type: 'gaussian' std: 0.1 } } }
layer { name: 'loss' type: 'SoftmaxWithLoss' bottom: 'ip2' bottom: 'label'
  top: 'loss' })",
      base, batch, layers, smooth ? "TanH" : "ReLU", smooth ? "AVE" : "MAX");
}

caffe::SolverParameter SmallSolver(const std::string& fields,
                                   const std::string& net, int64_t max_iter) {
  caffe::SolverParameter solver;
  CHECK_EQ(ParseText(fields, "solver", &solver), absl::OkStatus());
  CHECK_EQ(ParseText(net, "net", solver.mutable_net_param()),
           absl::OkStatus());
  solver.set_max_iter(static_cast<int32_t>(max_iter));
  solver.set_random_seed(7);
  solver.set_solver_mode(caffe::SolverParameter::CPU);
  return solver;
}

}  // namespace cssp
