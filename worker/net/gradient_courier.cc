#include "worker/net/gradient_courier.h"

#include <algorithm>
#include <optional>

#include "common/base/status_macros.h"

namespace cssp {

absl::StatusOr<std::unique_ptr<GradientCourier>> GradientCourier::Create(
    Device& device, int slots) {
  std::unique_ptr<GradientCourier> courier(
      new GradientCourier(device, std::max(slots, 1)));
  ASSIGN_OR_RETURN(courier->copies_, device.NewStream());
  for (Slot& slot : courier->slots_) {
    ASSIGN_OR_RETURN(slot.ready, device.NewEvent());
    ASSIGN_OR_RETURN(slot.copied, device.NewEvent());
  }
  courier->thread_ =
      Thread("gradients", [courier = courier.get()] { courier->Run(); });
  return courier;
}

GradientCourier::~GradientCourier() {
  queue_.Close();
  thread_.Join();
}

absl::Status GradientCourier::Send(Stream& compute,
                                   const GradientParcel& parcel) {
  {
    absl::MutexLock lock(&mu_);
    mu_.Await(absl::Condition(this, &GradientCourier::HasRoom));
    RETURN_IF_ERROR(failure_);
  }
  const int index = static_cast<int>(next_++ % slots_.size());
  Slot& slot = slots_[index];
  slot.parcel = parcel;
  RETURN_IF_ERROR(compute.Record(*slot.ready));
  RETURN_IF_ERROR(copies_->Wait(*slot.ready));
  RETURN_IF_ERROR(
      device_.CopyToHost(*copies_, parcel.host, parcel.device, parcel.bytes));
  RETURN_IF_ERROR(copies_->Record(*slot.copied));
  absl::MutexLock lock(&mu_);
  ++pending_;
  queue_.TryPush(index);  // has room for every slot
  return absl::OkStatus();
}

absl::Status GradientCourier::Await() {
  absl::MutexLock lock(&mu_);
  mu_.Await(absl::Condition(this, &GradientCourier::Idle));
  return failure_;
}

void GradientCourier::Run() {
  while (const std::optional<int> index = queue_.Pop()) {
    const Slot& slot = slots_[*index];
    const absl::Status copied = slot.copied->Synchronize();
    bool deliver;
    {
      absl::MutexLock lock(&mu_);
      if (failure_.ok()) failure_ = copied;
      deliver = failure_.ok();
    }
    const GradientParcel& parcel = slot.parcel;
    for (int i = 0; deliver && i < parcel.count; ++i)
      parcel.sink->GradientReady(parcel.first + i, parcel.clock);
    absl::MutexLock lock(&mu_);
    --pending_;
  }
}

}  // namespace cssp
