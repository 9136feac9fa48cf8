// Collects INFO lines while it lives.
#ifndef CSSP_TESTS_UNIT_WORKER_SOLVER_LOG_CAPTURE_H_
#define CSSP_TESTS_UNIT_WORKER_SOLVER_LOG_CAPTURE_H_

#include <string>
#include <vector>

#include "common/base/logging.h"

namespace cssp {

// Thread-confined: the test (glog calls it under its own lock).
class LogCapture : public google::LogSink {
 public:
  LogCapture() { google::AddLogSink(this); }
  ~LogCapture() override { google::RemoveLogSink(this); }
  void send(google::LogSeverity, const char*, const char*, int,
            const google::LogMessageTime&, const char* message,
            size_t size) override {
    lines_.emplace_back(message, size);
  }
  // Lines that begin with `word`.
  std::vector<std::string> From(const std::string& word) const {
    std::vector<std::string> out;
    for (const std::string& line : lines_)
      if (line.rfind(word, 0) == 0) out.push_back(line);
    return out;
  }
  // Lines that begin with one of Caffe's words.
  std::vector<std::string> Caffe() const {
    std::vector<std::string> out;
    for (const std::string& line : lines_)
      for (const char* word : {"Iteration ", "    T", "Snapshotting",
                               "Optimization", "Solving", "Learning Rate",
                               "Restoring", "Test ", "MultiStep"})
        if (line.rfind(word, 0) == 0) {
          out.push_back(line);
          break;
        }
    return out;
  }

 private:
  std::vector<std::string> lines_;
};

}  // namespace cssp

#endif  // CSSP_TESTS_UNIT_WORKER_SOLVER_LOG_CAPTURE_H_
