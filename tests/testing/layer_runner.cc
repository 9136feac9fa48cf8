#include "tests/testing/layer_runner.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <limits>
#include <numeric>
#include <random>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "glog/logging.h"
#include "google/protobuf/text_format.h"
#include "worker/layers/builtin_layers.h"
#include "worker/layers/formats.h"

namespace cssp::testing {
namespace {

std::shared_ptr<float[]> NewFloats(size_t count) {
  const size_t bytes = (count * sizeof(float) + 127) / 64 * 64;
  return {static_cast<float*>(std::aligned_alloc(64, bytes)),
          [](float* p) { std::free(p); }};
}

// Where element `i` of Caffe's order is stored.
int64_t StoredIndex(const TensorDesc& desc, int64_t i) {
  if (desc.format == Format::kCaffe) return i;
  const int64_t lanes = BlockLanes(desc.format);
  const int64_t positions = desc.shape.count_from(2);
  const int64_t channels = desc.shape.dim(1);
  const int64_t blocks = (channels + lanes - 1) / lanes;
  const int64_t item = i / positions / channels;
  const int64_t c = i / positions % channels;
  return ((item * blocks + c / lanes) * positions + i % positions) * lanes +
         c % lanes;
}

Format OfferedFormat(Offer offer, const Shape& shape) {
  if (shape.num_axes() != 4) return Format::kCaffe;
  return offer == Offer::kBlocked8    ? Format::kBlocked8
         : offer == Offer::kBlocked16 ? Format::kBlocked16
                                      : Format::kCaffe;
}

std::vector<TensorDesc> Describe(const std::vector<Shape>& shapes,
                                 const std::vector<Format>& formats) {
  std::vector<TensorDesc> descs;
  for (size_t i = 0; i < shapes.size(); ++i) {
    descs.push_back({shapes[i], DType::kFloat32, formats[i]});
  }
  return descs;
}

}  // namespace

const char* OfferName(Offer offer) {
  switch (offer) {
    case Offer::kForceCaffe:
      return "force caffe";
    case Offer::kCaffe:
      return "offer caffe";
    case Offer::kBlocked8:
      return "offer blocked8";
    case Offer::kBlocked16:
      return "offer blocked16";
  }
  return "?";
}

Values LayerRunner::Slot::Unpack() const {
  Values values(desc.shape.count());
  for (size_t i = 0; i < values.size(); ++i) {
    values[i] = memory[StoredIndex(desc, i)];
  }
  return values;
}

void LayerRunner::Slot::Pack(const Values& values) {
  CHECK_EQ(values.size(), desc.shape.count()) << "test: wrong value count";
  std::fill_n(memory.get(), desc.stored_count(), 0.0f);
  for (size_t i = 0; i < values.size(); ++i) {
    memory[StoredIndex(desc, i)] = values[i];
  }
}

void LayerRunner::Slot::Poison() {
  std::fill_n(memory.get(), desc.stored_count(),
              std::numeric_limits<float>::quiet_NaN());
}

void LayerRunner::Slot::FillWith(float value) {
  Pack(Values(desc.shape.count(), value));
}

absl::Status LayerRunner::Slot::CheckPadding(const char* what) const {
  std::vector<bool> holds(desc.stored_count(), false);
  for (int64_t i = 0; i < desc.shape.count(); ++i) {
    holds[StoredIndex(desc, i)] = true;
  }
  for (size_t i = 0; i < holds.size(); ++i) {
    if (!holds[i] && memory[i] != 0) {
      return absl::InternalError(
          absl::StrCat("padding lane of a ", what, " holds ", memory[i]));
    }
  }
  return absl::OkStatus();
}

LayerRunner::Slot LayerRunner::NewSlot(const TensorDesc& desc) {
  return {desc, NewFloats(desc.stored_count())};
}

absl::StatusOr<std::unique_ptr<LayerRunner>> LayerRunner::Create(
    const std::string& param, caffe::Phase phase, std::vector<Shape> bottom,
    Offer offer) {
  return Create(ParseLayer(param), phase, std::move(bottom), offer);
}

absl::StatusOr<std::unique_ptr<LayerRunner>> LayerRunner::Create(
    caffe::LayerParameter param, caffe::Phase phase, std::vector<Shape> bottom,
    Offer offer) {
  std::unique_ptr<Device> device = MakeCpuDevice(1);
  ASSIGN_OR_RETURN(auto run, CreateOn(*device, std::move(param), phase,
                                      std::move(bottom), offer));
  run->own_device_ = std::move(device);
  return run;
}

absl::StatusOr<std::unique_ptr<LayerRunner>> LayerRunner::CreateOn(
    Device& device, caffe::LayerParameter param, caffe::Phase phase,
    std::vector<Shape> bottom, Offer offer) {
  auto run = std::unique_ptr<LayerRunner>(new LayerRunner);
  run->device_ = &device;
  run->registry_ = std::make_unique<LayerRegistry>();
  RETURN_IF_ERROR(RegisterCpuLayers(*run->registry_));
  RETURN_IF_ERROR(RegisterCudaLayers(*run->registry_));
  for (size_t i = param.bottom_size(); i < bottom.size(); ++i) {
    param.add_bottom(absl::StrCat("bottom", i));
  }
  if (param.top_size() == 0) param.add_top("top0");
  ASSIGN_OR_RETURN(
      run->layer_,
      run->registry_->Create(param, {.device = &device, .phase = phase}));
  ASSIGN_OR_RETURN(run->stream_, device.NewStream());
  run->state_.phase = phase;
  run->state_.seed = 1701;
  run->offer_ = offer;
  RETURN_IF_ERROR(run->layer_->SetUp(bottom));
  RETURN_IF_ERROR(run->Reshape(std::move(bottom)));
  return run;
}

absl::Status LayerRunner::Reshape(std::vector<Shape> bottom) {
  ASSIGN_OR_RETURN(top_shapes_, layer_->InferShapes(bottom));
  std::vector<Format> offered;
  for (const Shape& shape : bottom) {
    offered.push_back(OfferedFormat(offer_, shape));
  }
  formats_ =
      offer_ == Offer::kForceCaffe
          ? Everywhere(Format::kCaffe, bottom.size(), top_shapes_.size())
          : layer_->ChooseFormats(Describe(bottom, offered), top_shapes_);
  if (formats_.bottom.size() != bottom.size() ||
      formats_.top.size() != top_shapes_.size()) {
    return absl::InternalError("ChooseFormats: wrong number of formats");
  }
  RETURN_IF_ERROR(layer_->Bind(Describe(bottom, formats_.bottom),
                               Describe(top_shapes_, formats_.top)));
  bottom_shapes_ = std::move(bottom);
  return MakeSlots();
}

absl::Status LayerRunner::MakeSlots() {
  for (auto* slots : {&bottom_slots_, &top_slots_, &param_slots_,
                      &bottom_gradients_, &top_gradients_, &param_gradients_}) {
    slots->clear();
  }
  bottom.clear();
  for (const TensorDesc& d : Describe(bottom_shapes_, formats_.bottom)) {
    bottom_slots_.push_back(NewSlot(d));
    bottom_gradients_.push_back(NewSlot(d));
    bottom.emplace_back(d.shape.count());
  }
  for (const TensorDesc& d : Describe(top_shapes_, formats_.top)) {
    top_slots_.push_back(NewSlot(d));
    top_gradients_.push_back(NewSlot(d));
  }
  for (const ParamDeclaration& p : layer_->param_declarations()) {
    param_slots_.push_back(NewSlot({.shape = p.shape}));
    param_gradients_.push_back(NewSlot({.shape = p.shape}));
  }
  param.resize(param_slots_.size());
  for (size_t i = 0; i < param.size(); ++i) {
    param[i].resize(param_slots_[i].desc.shape.count());
  }
  scratch_bytes_ = layer_->Traits().scratch_bytes;
  ASSIGN_OR_RETURN(scratch_, device_->Allocate(scratch_bytes_));
  // nan: what a kernel reads of its scratch it must have written.
  const std::vector<uint8_t> junk(scratch_bytes_, 0xFF);
  RETURN_IF_ERROR(device_->CopyFromHost(*stream_, scratch_.data(), junk.data(),
                                        junk.size()));
  if (device_->works_in_host_memory()) return absl::OkStatus();
  for (Slots* slots :
       {&bottom_slots_, &top_slots_, &param_slots_, &bottom_gradients_,
        &top_gradients_, &param_gradients_}) {
    for (Slot& slot : *slots) {
      ASSIGN_OR_RETURN(Buffer twin, device_->Allocate(slot.desc.bytes()));
      slot.twin = std::make_shared<Buffer>(std::move(twin));
    }
  }
  return stream_->Synchronize();
}

absl::Status LayerRunner::Upload(const Slots& slots) {
  for (const Slot& slot : slots) {
    if (slot.twin == nullptr) continue;
    RETURN_IF_ERROR(device_->CopyFromHost(
        *stream_, slot.raw(), slot.memory.get(), slot.desc.bytes()));
  }
  return absl::OkStatus();
}

absl::Status LayerRunner::Download(Slots& slots) {
  for (Slot& slot : slots) {
    if (slot.twin == nullptr) continue;
    RETURN_IF_ERROR(device_->CopyToHost(*stream_, slot.memory.get(), slot.raw(),
                                        slot.desc.bytes()));
  }
  return stream_->Synchronize();
}

StepContext LayerRunner::NewStep() {
  return StepContext(
      *stream_,
      absl::MakeSpan(static_cast<uint8_t*>(scratch_.data()), scratch_bytes_),
      state_, /*layer=*/3);
}

absl::Status LayerRunner::Forward() {
  std::vector<ConstTensor> bottoms, params;
  std::vector<Tensor> tops;
  std::vector<GradientTensor> statistics;
  for (size_t i = 0; i < bottom.size(); ++i) {
    bottom_slots_[i].Pack(bottom[i]);
    bottoms.push_back({&bottom_slots_[i].desc, bottom_slots_[i].raw()});
  }
  for (size_t i = 0; i < param.size(); ++i) {
    param_slots_[i].Pack(param[i]);
    params.push_back({&param_slots_[i].desc, param_slots_[i].raw()});
    const bool statistic =
        layer_->param_declarations()[i].kind == ParamKind::kStatistic &&
        layer_->phase() == caffe::TRAIN;
    param_gradients_[i].Poison();
    statistics.push_back(
        {{&param_gradients_[i].desc, param_gradients_[i].raw()},
         statistic ? GradientMode::kWrite : GradientMode::kNone});
  }
  for (size_t i = 0; i < top_slots_.size(); ++i) {
    if (in_place_ && i == 0) {
      top_slots_[0].memory = bottom_slots_[0].memory;
      top_slots_[0].twin = bottom_slots_[0].twin;
    } else {
      top_slots_[i].Poison();
    }
    tops.push_back({&top_slots_[i].desc, top_slots_[i].raw()});
  }
  for (const Slots* slots :
       {&top_slots_, &bottom_slots_, &param_slots_, &param_gradients_}) {
    RETURN_IF_ERROR(Upload(*slots));
  }
  StepContext step = NewStep();
  RETURN_IF_ERROR(layer_->Forward(step, {bottoms, params, tops, statistics}));
  RETURN_IF_ERROR(stream_->Synchronize());
  const absl::Span<const Shape> decided = layer_->ForwardShapes();
  for (size_t i = 0; i < decided.size(); ++i) {
    top_shapes_[i] = decided[i];
    top_slots_[i].desc.shape = top_gradients_[i].desc.shape = decided[i];
  }
  RETURN_IF_ERROR(Download(top_slots_));
  RETURN_IF_ERROR(Download(param_gradients_));
  top.clear();
  for (const Slot& slot : top_slots_) {
    RETURN_IF_ERROR(slot.CheckPadding("top"));
    top.push_back(slot.Unpack());
  }
  param_gradient.clear();
  for (const Slot& slot : param_gradients_) {
    param_gradient.push_back(slot.Unpack());
  }
  return absl::OkStatus();
}

absl::Status LayerRunner::Backward(const std::vector<Values>& top_gradient,
                                   GradientMode mode, float initial) {
  std::vector<ConstTensor> bottoms, params, tops, gradients_in;
  std::vector<GradientTensor> gradients_out, param_out;
  const LayerTraits traits = layer_->Traits();
  // Data that the traits do not name is not there.
  for (size_t i = 0; i < bottom_slots_.size(); ++i) {
    const bool read = traits.backward_reads_bottom >> i & 1;
    bottoms.push_back(
        {&bottom_slots_[i].desc, read ? bottom_slots_[i].raw() : nullptr});
  }
  for (size_t i = 0; i < top_slots_.size(); ++i) {
    const bool read = traits.backward_reads_top >> i & 1;
    tops.push_back({&top_slots_[i].desc, read ? top_slots_[i].raw() : nullptr});
    const bool given = i < top_gradient.size() && !top_gradient[i].empty();
    if (given) top_gradients_[i].Pack(top_gradient[i]);
    gradients_in.push_back(
        {&top_gradients_[i].desc, given ? top_gradients_[i].raw() : nullptr});
  }
  for (size_t i = 0; i < bottom_slots_.size(); ++i) {
    Slot& slot = bottom_gradients_[i];
    if (in_place_ && i == 0) {
      slot.memory = top_gradients_[0].memory;
      slot.twin = top_gradients_[0].twin;
    } else if (mode == GradientMode::kAdd) {
      slot.FillWith(initial);
    } else {
      slot.Poison();
    }
    gradients_out.push_back(
        {{&slot.desc, slot.raw()},
         layer_->propagates_to(i) ? mode : GradientMode::kNone});
  }
  for (size_t i = 0; i < param_slots_.size(); ++i) {
    params.push_back({&param_slots_[i].desc, param_slots_[i].raw()});
    const bool learnt =
        layer_->param_declarations()[i].kind == ParamKind::kGradient;
    Slot& slot = param_gradients_[i];
    if (learnt) {
      mode == GradientMode::kAdd ? slot.FillWith(initial) : slot.Poison();
    }
    param_out.push_back(
        {{&slot.desc, slot.raw()}, learnt ? mode : GradientMode::kNone});
  }
  for (const Slots* slots :
       {&bottom_gradients_, &top_gradients_, &param_gradients_}) {
    RETURN_IF_ERROR(Upload(*slots));
  }
  StepContext step = NewStep();
  RETURN_IF_ERROR(layer_->Backward(
      step, {bottoms, params, tops, gradients_in, gradients_out, param_out}));
  RETURN_IF_ERROR(Download(bottom_gradients_));
  RETURN_IF_ERROR(Download(param_gradients_));
  bottom_gradient.clear();
  for (size_t i = 0; i < bottom_gradients_.size(); ++i) {
    if (gradients_out[i].mode != GradientMode::kNone) {
      RETURN_IF_ERROR(bottom_gradients_[i].CheckPadding("bottom gradient"));
    }
    bottom_gradient.push_back(bottom_gradients_[i].Unpack());
  }
  param_gradient.clear();
  for (const Slot& slot : param_gradients_) {
    param_gradient.push_back(slot.Unpack());
  }
  return absl::OkStatus();
}

caffe::LayerParameter ParseLayer(const std::string& text) {
  caffe::LayerParameter param;
  CHECK(google::protobuf::TextFormat::ParseFromString(text, &param)) << text;
  return param;
}

Values Normal(int64_t count, uint64_t seed, float scale) {
  std::mt19937_64 random(seed);
  std::normal_distribution<float> normal(0, scale);
  Values values(count);
  for (float& v : values) v = normal(random);
  return values;
}

Values Distinct(int64_t count, uint64_t seed, float gap) {
  Values values(count);
  for (int64_t i = 0; i < count; ++i) values[i] = gap * (i - count / 2 + 0.5f);
  std::mt19937_64 random(seed);
  std::shuffle(values.begin(), values.end(), random);
  return values;
}

}  // namespace cssp::testing
