#include "worker/tools/progress_bar.h"

#include <unistd.h>

#include <algorithm>
#include <cstdio>

#include "absl/strings/str_format.h"

namespace cssp {
namespace {

constexpr int kPlaces = 30;
constexpr absl::Duration kEvery = absl::Milliseconds(100);

}  // namespace

std::string ProgressLine(int64_t done, int64_t total, absl::Duration elapsed) {
  const double share =
      total > 0 ? static_cast<double>(done) / static_cast<double>(total) : 1;
  const int filled = static_cast<int>(share * kPlaces);
  std::string bar(filled, '=');
  if (filled < kPlaces) bar += '>';
  bar.resize(kPlaces, ' ');
  const double seconds = std::max(absl::ToDoubleSeconds(elapsed), 1e-3);
  const double rate = static_cast<double>(done) / seconds;
  const double left = rate > 0 ? static_cast<double>(total - done) / rate : 0;
  return absl::StrFormat("[%s] %3d %%  %d / %d  %.0f/s  %.0f s left", bar,
                         static_cast<int>(share * 100), done, total, rate,
                         left);
}

ProgressBar::ProgressBar(int64_t total, bool on_terminal, TimeSource& time)
    : total_(total),
      on_terminal_(on_terminal),
      time_(time),
      begin_(time.Now()),
      next_(begin_) {}

ProgressBar::~ProgressBar() {
  if (shown_) std::fputc('\n', stderr);
}

void ProgressBar::Show(int64_t done) {
  if (!on_terminal_) return;
  const absl::Time now = time_.Now();
  if (now < next_ && done < total_) return;
  next_ = now + kEvery;
  shown_ = true;
  // The escape clears what a longer line has left.
  std::fprintf(stderr, "\r%s\x1b[K",
               ProgressLine(done, total_, now - begin_).c_str());
  std::fflush(stderr);
}

bool ProgressBar::OnTerminal() { return isatty(STDERR_FILENO) != 0; }

}  // namespace cssp
