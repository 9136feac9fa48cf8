#include <sched.h>
#include <unistd.h>

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "common/launch/launch.h"

namespace cssp {

int AvailableCores() {
  cpu_set_t set;
  CPU_ZERO(&set);
  if (sched_getaffinity(0, sizeof(set), &set) != 0) return 1;
  return std::max(1, CPU_COUNT(&set));
}

std::string WidenAffinity() {
  const int before = AvailableCores();
  const long cores = std::min<long>(sysconf(_SC_NPROCESSORS_CONF), CPU_SETSIZE);
  cpu_set_t all;
  CPU_ZERO(&all);
  for (long core = 0; core < cores; ++core) CPU_SET(core, &all);
  // The kernel cuts this down to what the cpuset grants.
  if (sched_setaffinity(0, sizeof(all), &all) != 0) return "";
  const int after = AvailableCores();
  if (after == before) return "";
  return absl::StrCat("cpu affinity widened from ", before, " to ", after,
                      " cores");
}

}  // namespace cssp
