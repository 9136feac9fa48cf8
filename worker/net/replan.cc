#include "worker/net/replan.h"

#include "absl/strings/cord.h"
#include "absl/strings/string_view.h"

namespace cssp {
namespace {

constexpr absl::string_view kRequest = "caffe-ssp/replan";

}  // namespace

absl::Status ReplanRequest() {
  absl::Status request =
      absl::FailedPreconditionError("its tops have changed their shapes");
  request.SetPayload(kRequest, absl::Cord());
  return request;
}

bool IsReplanRequest(const absl::Status& status) {
  return status.GetPayload(kRequest).has_value();
}

}  // namespace cssp
