// Run by launch_test under mpirun: puts a value, prints everyone's.
#include <cstdio>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "common/base/logging.h"
#include "common/launch/launch.h"

int main(int argc, char** argv) {
  auto launch = cssp::Launch::Create({.has_pmix = true});
  if (!launch.ok()) return cssp::ExitCodeFor("launch_probe", launch.status());
  // Others ask before rank 0 has published anything.
  if ((*launch)->rank() == 0) absl::SleepFor(absl::Milliseconds(300));
  const absl::Status put =
      (*launch)->Put("probe", absl::StrCat("value-", (*launch)->rank()));
  if (!put.ok()) return cssp::ExitCodeFor("launch_probe", put);
  std::string line = absl::StrCat("rank ", (*launch)->rank(), " of ",
                                  (*launch)->size(), " local ",
                                  (*launch)->local_size(), " got");
  for (int rank = 0; rank < (*launch)->size(); ++rank) {
    auto value = (*launch)->Get(rank, "probe", absl::Seconds(20));
    if (!value.ok()) return cssp::ExitCodeFor("launch_probe", value.status());
    absl::StrAppend(&line, " ", *value);
  }
  std::printf("%s\n", line.c_str());
  return 0;
}
