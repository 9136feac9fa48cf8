// A model that was read, wherever it came from: upgraded, its blobs' shapes and
// values taken, loaded into a small net.
#ifndef CSSP_TESTS_FUZZ_MODEL_FUZZ_H_
#define CSSP_TESTS_FUZZ_MODEL_FUZZ_H_

#include "proto/caffe.pb.h"

namespace cssp::testing {

void FuzzModel(const caffe::NetParameter& model);

}  // namespace cssp::testing

#endif  // CSSP_TESTS_FUZZ_MODEL_FUZZ_H_
