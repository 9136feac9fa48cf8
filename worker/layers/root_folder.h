// Paths of files that a prototxt names.
#ifndef CSSP_WORKER_LAYERS_ROOT_FOLDER_H_
#define CSSP_WORKER_LAYERS_ROOT_FOLDER_H_

#include <string>

#include "absl/strings/str_cat.h"

namespace cssp {

// Relative paths start at the root folder (LayerContext), where one is set.
inline std::string InRootFolder(const std::string& root,
                                const std::string& path) {
  if (root.empty() || path.empty() || path[0] == '/') return path;
  return absl::StrCat(root, root.back() == '/' ? "" : "/", path);
}

}  // namespace cssp

#endif  // CSSP_WORKER_LAYERS_ROOT_FOLDER_H_
