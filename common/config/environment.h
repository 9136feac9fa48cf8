// The process's environment: the only door to it.
#ifndef CSSP_COMMON_CONFIG_ENVIRONMENT_H_
#define CSSP_COMMON_CONFIG_ENVIRONMENT_H_

#include <optional>
#include <string>
#include <vector>

namespace cssp {

// Value of a variable; nullopt when it is not set.
std::optional<std::string> EnvironmentVariable(const std::string& name);

// All of it, as "NAME=value".
std::vector<std::string> EnvironmentList();

}  // namespace cssp

#endif  // CSSP_COMMON_CONFIG_ENVIRONMENT_H_
