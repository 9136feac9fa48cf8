#include "common/config/environment.h"

#include <unistd.h>

#include <cstdlib>

namespace cssp {

std::optional<std::string> EnvironmentVariable(const std::string& name) {
  const char* value = std::getenv(name.c_str());
  if (value == nullptr) return std::nullopt;
  return value;
}

std::vector<std::string> EnvironmentList() {
  std::vector<std::string> list;
  for (char** entry = environ; entry != nullptr && *entry != nullptr; ++entry)
    list.emplace_back(*entry);
  return list;
}

}  // namespace cssp
