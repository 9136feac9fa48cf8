// caffe.ps: SSP tables, as a program that is not Caffe uses them.
#include <pybind11/stl.h>

#include "worker/python/bindings.h"
#include "worker/sync/table_session.h"

namespace cssp::python {
namespace {

using Tables = std::shared_ptr<TableSession>;
using Row = py::array_t<float, py::array::c_style | py::array::forcecast>;

Tables Join(const std::string& coordinator, const std::string& job,
            const std::string& token, int rank, double timeout) {
  TableSessionOptions options;
  options.coordinator = coordinator;
  options.job = job;
  options.token = token;
  options.rank = rank;
  options.timeout = absl::Seconds(timeout);
  return ValueOrThrow(Unlocked([&]() -> absl::StatusOr<Tables> {
    absl::StatusOr<std::unique_ptr<TableSession>> joined =
        TableSession::Join(options);
    if (!joined.ok()) return joined.status();
    return Tables(*std::move(joined));
  }));
}

Row Get(const Tables& tables, int table, int64_t row) {
  Row values(tables->width(table));
  const auto out = absl::MakeSpan(values.mutable_data(), values.size());
  ThrowIfError(Unlocked([&] { return tables->Get(table, row, out); }));
  return values;
}

void Inc(const Tables& tables, int table, int64_t row, const Row& delta) {
  const auto values = absl::MakeConstSpan(delta.data(), delta.size());
  ThrowIfError(Unlocked([&] { return tables->Inc(table, row, values); }));
}

}  // namespace

void BindTables(py::module_& module) {
  py::class_<TableSession, Tables>(module, "TableSession")
      .def(py::init(&Join), py::arg("coordinator"), py::arg("job"),
           py::arg("token") = "", py::arg("rank") = -1,
           py::arg("timeout") = 300.0)
      .def_property_readonly("rank", &TableSession::rank)
      .def_property_readonly("workers", &TableSession::workers)
      .def_property_readonly("staleness", &TableSession::staleness)
      .def_property_readonly(
          "now", [](const TableSession& self) { return self.clock(); })
      .def("_find",
           [](const TableSession& self, const std::string& name) {
             return ValueOrThrow(self.FindTable(name));
           })
      .def("_rows", &TableSession::rows)
      .def("_width", &TableSession::width)
      .def("_get", &Get)
      .def("_inc", &Inc)
      .def("clock",
           [](const Tables& self) {
             ThrowIfError(Unlocked([&] { return self->Clock(); }));
           })
      .def("finish", [](const Tables& self) {
        ThrowIfError(Unlocked([&] { return self->Finish(); }));
      });
}

}  // namespace cssp::python
