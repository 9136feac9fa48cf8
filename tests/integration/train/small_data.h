// A small data base, net and solver for tests that train.
#ifndef CSSP_TESTS_INTEGRATION_TRAIN_SMALL_DATA_H_
#define CSSP_TESTS_INTEGRATION_TRAIN_SMALL_DATA_H_

#include <string>

#include "absl/status/status.h"
#include "proto/caffe.pb.h"

namespace cssp {

// An LMDB of 90 random images, 3x12x12, five classes.
absl::Status MakeSmallBase(const std::string& path);

// Data -> conv1 -> [layers] -> relu1 -> pool1 -> ip1 -> ip2 -> loss; TanH and
// AVE pooling where `smooth`.  About 27,000 parameters.
std::string SmallNet(const std::string& base, int batch,
                     const std::string& layers, bool smooth = false);

// `fields` in text format, net inlined, seed 7, no test nets, no display.
caffe::SolverParameter SmallSolver(const std::string& fields,
                                   const std::string& net, int64_t max_iter);

}  // namespace cssp

#endif  // CSSP_TESTS_INTEGRATION_TRAIN_SMALL_DATA_H_
