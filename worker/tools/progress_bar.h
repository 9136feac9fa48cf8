// How far a tool is, for a person who watches.
#ifndef CSSP_WORKER_TOOLS_PROGRESS_BAR_H_
#define CSSP_WORKER_TOOLS_PROGRESS_BAR_H_

#include <cstdint>
#include <string>

#include "absl/time/time.h"
#include "common/base/time_source.h"

namespace cssp {

// "[=====>    ]  53 %  5300 / 10000  812/s  6 s left", 30 places wide.
std::string ProgressLine(int64_t done, int64_t total, absl::Duration elapsed);

// On a terminal, one line on stderr that is written over, at most ten times a
// second; elsewhere nothing: logs go there.
//
// Thread-confined: the tool's thread.
class ProgressBar {
 public:
  ProgressBar(int64_t total, bool on_terminal,
              TimeSource& time = TimeSource::Real());
  ~ProgressBar();  // leaves the line

  void Show(int64_t done);

  // Whether stderr is a terminal.
  static bool OnTerminal();

 private:
  const int64_t total_;
  const bool on_terminal_;
  TimeSource& time_;
  const absl::Time begin_;
  absl::Time next_;
  bool shown_ = false;
};

}  // namespace cssp

#endif  // CSSP_WORKER_TOOLS_PROGRESS_BAR_H_
