// The net's randomness: see common/base/philox.h.
#ifndef CSSP_WORKER_NET_PHILOX_H_
#define CSSP_WORKER_NET_PHILOX_H_

#include "common/base/philox.h"

#endif  // CSSP_WORKER_NET_PHILOX_H_
