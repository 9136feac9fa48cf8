#include "worker/solver/memory_report.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "worker/net/execution_plan.h"

namespace cssp {
namespace {

std::string MiB(int64_t bytes) {
  return absl::StrFormat("%.1f MiB", static_cast<double>(bytes) / (1 << 20));
}

std::string Describe(const NetMemory& net) {
  return absl::StrCat("activations ", MiB(net.activations),
                      ", their gradients ", MiB(net.gradients), ", workspace ",
                      MiB(net.workspace));
}

}  // namespace

NetMemory MemoryOf(const Net& net) {
  const ExecutionPlan& plan = net.plan();
  NetMemory memory;
  memory.activations = static_cast<int64_t>(plan.data_bytes);
  memory.gradients = static_cast<int64_t>(plan.gradient_bytes);
  memory.workspace = static_cast<int64_t>(plan.scratch_bytes);
  return memory;
}

int64_t MemoryReport::total() const {
  int64_t sum = parameters + parameter_gradients + history + train.total();
  for (const NetMemory& test : tests) sum += test.total();
  return sum;
}

std::string MemoryReport::ToString() const {
  std::string text =
      absl::StrCat(MiB(total()), ": parameters ", MiB(parameters),
                   ", their gradients ", MiB(parameter_gradients), ", history ",
                   MiB(history), "; train net: ", Describe(train));
  for (size_t i = 0; i < tests.size(); ++i)
    absl::StrAppend(&text, "; test net #", i, ": ", Describe(tests[i]));
  return text;
}

MemoryReport MeasureMemory(const NetSet& nets, int history_slots) {
  MemoryReport report;
  const int64_t slab =
      static_cast<int64_t>(nets.train->weights().size() * sizeof(float));
  report.parameters = slab;
  report.parameter_gradients = 2 * slab;
  report.history = history_slots * slab;
  report.train = MemoryOf(*nets.train);
  for (const auto& test : nets.tests) report.tests.push_back(MemoryOf(*test));
  return report;
}

}  // namespace cssp
