// ThreadSanitizer sees absl::Mutex.  Debian's libabsl is built without the
// sanitizer, which therefore takes everything a Mutex guards for a race.  In
// sanitized builds (only) every program is linked with this file: it stands
// before the library's functions, calls them, and tells the sanitizer which
// critical section happened before which.  Conditions may be evaluated by the
// thread that unlocks, after it has told so: their reads are not checked.
#include <dlfcn.h>

#include "absl/synchronization/mutex.h"

extern "C" {
void __tsan_acquire(void* address);
void __tsan_release(void* address);
void AnnotateIgnoreReadsBegin(const char* file, int line);
void AnnotateIgnoreReadsEnd(const char* file, int line);
}

namespace cssp {
namespace {

template <class Function>
Function* Next(const char* symbol) {
  return reinterpret_cast<Function*>(dlsym(RTLD_NEXT, symbol));
}

}  // namespace
}  // namespace cssp

// `Name` is the mangled function; `this` comes first, as the ABI has it.
#define CSSP_WRAP(Result, wrapper, name, parameters)  \
  extern "C" Result wrapper parameters __asm__(name); \
  extern "C" Result wrapper parameters
#define CSSP_NEXT(Result, name, ...)       \
  static Result (*const next)(__VA_ARGS__) = \
      cssp::Next<Result(__VA_ARGS__)>(name)

#define CSSP_MUTEX "_ZN4absl7debian35Mutex"
using absl::Condition;
using absl::CondVar;
using absl::Duration;
using absl::Mutex;
using absl::Time;

#define CSSP_ACQUIRING(wrapper, suffix)                           \
  CSSP_WRAP(void, wrapper, CSSP_MUTEX suffix, (Mutex * mutex)) {  \
    CSSP_NEXT(void, CSSP_MUTEX suffix, Mutex*);                   \
    next(mutex);                                                  \
    __tsan_acquire(mutex);                                        \
  }
#define CSSP_RELEASING(wrapper, suffix)                           \
  CSSP_WRAP(void, wrapper, CSSP_MUTEX suffix, (Mutex * mutex)) {  \
    CSSP_NEXT(void, CSSP_MUTEX suffix, Mutex*);                   \
    __tsan_release(mutex);                                        \
    next(mutex);                                                  \
  }
#define CSSP_TRYING(wrapper, suffix)                              \
  CSSP_WRAP(bool, wrapper, CSSP_MUTEX suffix, (Mutex * mutex)) {  \
    CSSP_NEXT(bool, CSSP_MUTEX suffix, Mutex*);                   \
    const bool locked = next(mutex);                              \
    if (locked) __tsan_acquire(mutex);                            \
    return locked;                                                \
  }
// Locks, or gives the lock up and takes it again (Await).
#define CSSP_WAITING(wrapper, suffix)                             \
  CSSP_WRAP(void, wrapper, CSSP_MUTEX suffix,                     \
            (Mutex * mutex, const Condition& condition)) {        \
    CSSP_NEXT(void, CSSP_MUTEX suffix, Mutex*, const Condition&); \
    __tsan_release(mutex);                                        \
    next(mutex, condition);                                       \
    __tsan_acquire(mutex);                                        \
  }
#define CSSP_WAITING_UNTIL(wrapper, suffix, Limit)                       \
  CSSP_WRAP(bool, wrapper, CSSP_MUTEX suffix,                            \
            (Mutex * mutex, const Condition& condition, Limit limit)) {  \
    CSSP_NEXT(bool, CSSP_MUTEX suffix, Mutex*, const Condition&, Limit); \
    __tsan_release(mutex);                                               \
    const bool holds = next(mutex, condition, limit);                    \
    __tsan_acquire(mutex);                                               \
    return holds;                                                        \
  }

CSSP_ACQUIRING(CsspLock, "4LockEv")
CSSP_ACQUIRING(CsspReaderLock, "10ReaderLockEv")
CSSP_RELEASING(CsspUnlock, "6UnlockEv")
CSSP_RELEASING(CsspReaderUnlock, "12ReaderUnlockEv")
CSSP_TRYING(CsspTryLock, "7TryLockEv")
CSSP_TRYING(CsspReaderTryLock, "13ReaderTryLockEv")
CSSP_WAITING(CsspLockWhen, "8LockWhenERKNS0_9ConditionE")
CSSP_WAITING(CsspReaderLockWhen, "14ReaderLockWhenERKNS0_9ConditionE")
CSSP_WAITING(CsspAwait, "5AwaitERKNS0_9ConditionE")
CSSP_WAITING_UNTIL(CsspAwaitWithTimeout,
                   "16AwaitWithTimeoutERKNS0_9ConditionENS0_8DurationE",
                   Duration)
CSSP_WAITING_UNTIL(CsspAwaitWithDeadline,
                   "17AwaitWithDeadlineERKNS0_9ConditionENS0_4TimeE", Time)
CSSP_WAITING_UNTIL(CsspLockWhenWithTimeout,
                   "19LockWhenWithTimeoutERKNS0_9ConditionENS0_8DurationE",
                   Duration)
CSSP_WAITING_UNTIL(CsspLockWhenWithDeadline,
                   "20LockWhenWithDeadlineERKNS0_9ConditionENS0_4TimeE", Time)

#define CSSP_CONDVAR "_ZN4absl7debian37CondVar"

CSSP_WRAP(void, CsspCondVarWait, CSSP_CONDVAR "4WaitEPNS0_5MutexE",
          (CondVar * variable, Mutex* mutex)) {
  CSSP_NEXT(void, CSSP_CONDVAR "4WaitEPNS0_5MutexE", CondVar*, Mutex*);
  __tsan_release(mutex);
  next(variable, mutex);
  __tsan_acquire(mutex);
}

CSSP_WRAP(bool, CsspCondVarWaitWithTimeout,
          CSSP_CONDVAR "15WaitWithTimeoutEPNS0_5MutexENS0_8DurationE",
          (CondVar * variable, Mutex* mutex, Duration limit)) {
  CSSP_NEXT(bool, CSSP_CONDVAR "15WaitWithTimeoutEPNS0_5MutexENS0_8DurationE",
            CondVar*, Mutex*, Duration);
  __tsan_release(mutex);
  const bool timed_out = next(variable, mutex, limit);
  __tsan_acquire(mutex);
  return timed_out;
}

CSSP_WRAP(bool, CsspCondVarWaitWithDeadline,
          CSSP_CONDVAR "16WaitWithDeadlineEPNS0_5MutexENS0_4TimeE",
          (CondVar * variable, Mutex* mutex, Time limit)) {
  CSSP_NEXT(bool, CSSP_CONDVAR "16WaitWithDeadlineEPNS0_5MutexENS0_4TimeE",
            CondVar*, Mutex*, Time);
  __tsan_release(mutex);
  const bool timed_out = next(variable, mutex, limit);
  __tsan_acquire(mutex);
  return timed_out;
}

CSSP_WRAP(bool, CsspConditionEval, "_ZNK4absl7debian39Condition4EvalEv",
          (const Condition* condition)) {
  CSSP_NEXT(bool, "_ZNK4absl7debian39Condition4EvalEv", const Condition*);
  AnnotateIgnoreReadsBegin(__FILE__, __LINE__);
  const bool holds = next(condition);
  AnnotateIgnoreReadsEnd(__FILE__, __LINE__);
  return holds;
}
