// Whether watching for a moment beats going to sleep.
#ifndef CSSP_COMMON_TRANSPORT_LINGER_H_
#define CSSP_COMMON_TRANSPORT_LINGER_H_

#include <algorithm>

namespace cssp {

// Watching saves a sleep and a wake-up (two system calls here, an interrupt of
// the sleeping core by the sender) when the next message comes within the
// moment, and costs the moment when it does not.  So: as often as it has paid
// lately; where it does not, now and then, to notice when that changes.
//
// Thread-compatible.
class Linger {
 public:
  bool Worth() { return credit_ > 0 || ++passed_ % kEvery == 0; }
  void Note(bool paid) {
    credit_ = std::clamp(credit_ + (paid ? 2 : -1), 0, kMost);
  }

 private:
  static constexpr int kEvery = 16;
  static constexpr int kMost = 16;

  int credit_ = 0;
  unsigned passed_ = 0;
};

}  // namespace cssp

#endif  // CSSP_COMMON_TRANSPORT_LINGER_H_
