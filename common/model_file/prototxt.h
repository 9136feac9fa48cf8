// Text prototxt: parsing with positions in the messages, and a solver's files.
#ifndef CSSP_COMMON_MODEL_FILE_PROTOTXT_H_
#define CSSP_COMMON_MODEL_FILE_PROTOTXT_H_

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "google/protobuf/message.h"
#include "proto/caffe.pb.h"

namespace cssp {

// Parses `text` into *message (cleared first).  The first mistake gives
// InvalidArgument "lenet.prototxt:12:3: ...", line and column counted from 1;
// a misspelt field is pointed at and its nearest known name suggested.
absl::Status ParseText(absl::string_view text, absl::string_view source_name,
                       google::protobuf::Message* message);

// The same from a file of at most 1 GiB.
absl::Status ReadTextFile(const std::string& path,
                          google::protobuf::Message* message);

// A net's text, as written: not upgraded (worker/net/net_passes.h does that).
absl::StatusOr<caffe::NetParameter> ReadNetText(const std::string& path);

// A solver's text with the solver's own upgrades done: see UpgradeSolver.
absl::StatusOr<caffe::SolverParameter> ReadSolver(const std::string& path);

// solver_type becomes type (both: InvalidArgument); an unset snapshot_prefix
// becomes `path` less its extension, one that is a directory gets the solver
// file's stem appended.
absl::Status UpgradeSolver(const std::string& path,
                           caffe::SolverParameter* solver);

// Replaces net, train_net and test_net by the nets themselves (net_param,
// train_net_param, test_net_param behind those given inline: Caffe's order).
// Nothing is read where no path is given; idempotent.  *solver is unchanged on
// an error.
absl::Status InlineNets(const std::string& solver_path,
                        caffe::SolverParameter* solver);

// Whether a net has a layer of type "Python": it runs inside an interpreter.
bool HasPythonLayers(const caffe::NetParameter& net);
// Any of a solver's nets.  REQUIRES: nets inlined.
bool HasPythonLayers(const caffe::SolverParameter& solver);

// `path` itself when it is absolute or exists seen from the working directory
// (Caffe's rule), else seen from the folder of `beside`.  NotFound names both.
absl::StatusOr<std::string> ResolvePath(const std::string& path,
                                        const std::string& beside);

}  // namespace cssp

#endif  // CSSP_COMMON_MODEL_FILE_PROTOTXT_H_
