// caffe.ps: SSP tables, as a program that is not Caffe uses them.
#include <pybind11/stl.h>

#include "worker/python/bindings.h"
#include "worker/sync/table_session.h"

namespace cssp::python {
namespace {

using Tables = std::shared_ptr<TableSession>;
using Row = py::array_t<float, py::array::c_style | py::array::forcecast>;
using RowIds = py::array_t<int64_t, py::array::c_style | py::array::forcecast>;

Tables Join(const std::string& coordinator, const std::string& job,
            const std::string& token, int rank, double timeout, bool eager,
            int64_t cache_bytes) {
  TableSessionOptions options;
  options.coordinator = coordinator;
  options.job = job;
  options.token = token;
  options.rank = rank;
  options.timeout = absl::Seconds(timeout);
  options.eager = eager;
  options.cache_bytes = cache_bytes;
  return ValueOrThrow(Unlocked([&]() -> absl::StatusOr<Tables> {
    absl::StatusOr<std::unique_ptr<TableSession>> joined =
        TableSession::Join(options);
    if (!joined.ok()) return joined.status();
    return Tables(*std::move(joined));
  }));
}

absl::Span<const int64_t> Span(const RowIds& rows) {
  return {rows.data(), static_cast<size_t>(rows.size())};
}

Row Get(const Tables& tables, int table, const RowIds& rows) {
  Row values({rows.size(), static_cast<py::ssize_t>(tables->width(table))});
  const auto out = absl::MakeSpan(values.mutable_data(), values.size());
  ThrowIfError(
      Unlocked([&] { return tables->BatchGet(table, Span(rows), out); }));
  return values;
}

void GetAsync(const Tables& tables, int table, const RowIds& rows) {
  ThrowIfError(Unlocked([&] { return tables->GetAsync(table, Span(rows)); }));
}

void Inc(const Tables& tables, int table, const RowIds& rows,
         const Row& deltas) {
  const auto values = absl::MakeConstSpan(deltas.data(), deltas.size());
  ThrowIfError(
      Unlocked([&] { return tables->BatchInc(table, Span(rows), values); }));
}

}  // namespace

void BindTables(py::module_& module) {
  py::class_<TableSession, Tables>(module, "TableSession")
      .def(py::init(&Join), py::arg("coordinator"), py::arg("job"),
           py::arg("token") = "", py::arg("rank") = -1,
           py::arg("timeout") = 300.0, py::arg("eager") = false,
           py::arg("cache_bytes") = int64_t{256} << 20)
      .def_property_readonly("rank", &TableSession::rank)
      .def_property_readonly("workers", &TableSession::workers)
      .def_property_readonly(
          "staleness", [](const TableSession& self) { return self.staleness(); })
      .def_property_readonly("waited",
                             [](const TableSession& self) {
                               return absl::ToDoubleSeconds(self.waited());
                             })
      .def_property_readonly(
          "now", [](const TableSession& self) { return self.clock(); })
      .def("_find",
           [](const TableSession& self, const std::string& name) {
             return ValueOrThrow(self.FindTable(name));
           })
      .def("_rows", &TableSession::rows)
      .def("_width", &TableSession::width)
      .def("_staleness",
           [](const TableSession& self, int table) {
             return self.staleness(table);
           })
      .def("_get", &Get)
      .def("_get_async", &GetAsync)
      .def("_inc", &Inc)
      .def("clock",
           [](const Tables& self) {
             ThrowIfError(Unlocked([&] { return self->Clock(); }));
           })
      .def("flush",
           [](const Tables& self) {
             ThrowIfError(Unlocked([&] { return self->Flush(); }));
           })
      .def("finish", [](const Tables& self) {
        ThrowIfError(Unlocked([&] { return self->Finish(); }));
      });
}

}  // namespace cssp::python
