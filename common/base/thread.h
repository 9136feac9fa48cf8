// A named thread that joins when it goes.
#ifndef CSSP_COMMON_BASE_THREAD_H_
#define CSSP_COMMON_BASE_THREAD_H_

#include <pthread.h>

#include <string>
#include <thread>
#include <utility>

namespace cssp {

// Thread-confined: its owner.  The body must end by itself or by a stop signal
// that the owner gives before Join; Join is what the destructor calls.
class Thread {
 public:
  Thread() = default;
  template <class Body>
  Thread(std::string name, Body body)
      : thread_([name = name.substr(0, 15), body = std::move(body)]() mutable {
          pthread_setname_np(pthread_self(), name.c_str());
          body();
        }) {}
  Thread(Thread&&) = default;
  Thread& operator=(Thread&& other) {
    Join();
    thread_ = std::move(other.thread_);
    return *this;
  }
  ~Thread() { Join(); }

  void Join() {
    if (thread_.joinable()) thread_.join();
  }
  bool running() const { return thread_.joinable(); }

 private:
  std::thread thread_;
};

}  // namespace cssp

#endif  // CSSP_COMMON_BASE_THREAD_H_
