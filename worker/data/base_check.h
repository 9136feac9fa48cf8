// What can be said about a base before a library opens it.
#ifndef CSSP_WORKER_DATA_BASE_CHECK_H_
#define CSSP_WORKER_DATA_BASE_CHECK_H_

#include <string>

#include "absl/status/status.h"
#include "worker/data/data_source.h"

namespace cssp {

// "LMDB", "LevelDB".
const char* BaseFormatName(BaseFormat format);

// Ok when a base of `format` stands at `path`; else one clear line (see
// OpenLmdb).
absl::Status CheckBaseExists(BaseFormat format, const std::string& path);

}  // namespace cssp

#endif  // CSSP_WORKER_DATA_BASE_CHECK_H_
