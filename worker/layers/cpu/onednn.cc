#include "worker/layers/cpu/onednn.h"

#include <utility>

namespace cssp::cpu {
namespace {

using Tag = dnnl::memory::format_tag;

Tag PlainTag(int axes) {
  switch (axes) {
    case 1:
      return Tag::a;
    case 2:
      return Tag::ab;
    case 3:
      return Tag::abc;
    case 4:
      return Tag::abcd;
    default:
      return Tag::abcde;
  }
}

}  // namespace

dnnl::memory::dims Dims(const Shape& shape) {
  return dnnl::memory::dims(shape.dims().begin(), shape.dims().end());
}

dnnl::memory::desc Describe(const Shape& shape, Format format) {
  const Tag tag = format == Format::kBlocked8    ? Tag::nChw8c
                  : format == Format::kBlocked16 ? Tag::nChw16c
                                                 : PlainTag(shape.num_axes());
  return {Dims(shape), dnnl::memory::data_type::f32, tag};
}

dnnl::memory::desc DescribeAny(const Shape& shape) {
  return {Dims(shape), dnnl::memory::data_type::f32, Tag::any};
}

Format NativeBlocked() {
  switch (dnnl::get_effective_cpu_isa()) {
    case dnnl::cpu_isa::sse41:
    case dnnl::cpu_isa::avx:
    case dnnl::cpu_isa::avx2:
    case dnnl::cpu_isa::avx2_vnni:
      return Format::kBlocked8;
    default:
      return Format::kBlocked16;
  }
}

Format NearestFormat(const dnnl::memory::desc& desc, const Shape& shape) {
  for (Format f : {Format::kCaffe, Format::kBlocked8, Format::kBlocked16}) {
    if (desc == Describe(shape, f)) return f;
  }
  return NativeBlocked();
}

void BoundPrimitive::Init(const OneDnn& dnnl, dnnl::primitive primitive,
                          const dnnl::memory::desc& scratchpad) {
  engine_ = dnnl.engine;
  primitive_ = std::move(primitive);
  args_.clear();
  scratch_bytes_ = scratchpad.get_size();
  if (scratch_bytes_ > 0) Arg(DNNL_ARG_SCRATCHPAD, scratchpad);
}

void BoundPrimitive::Arg(int id, const dnnl::memory::desc& desc) {
  args_[id] = dnnl::memory(desc, engine_, DNNL_MEMORY_NONE);
}

void BoundPrimitive::Arg(int id, const dnnl::memory& memory) {
  args_[id] = memory;
}

void BoundPrimitive::Point(int id, const void* data) {
  // oneDNN has one handle for what is read and what is written.
  args_.find(id)->second.set_data_handle(const_cast<void*>(data));
}

void BoundPrimitive::Run(OneDnn& dnnl, void* scratch) {
  if (scratch_bytes_ > 0) Point(DNNL_ARG_SCRATCHPAD, scratch);
  primitive_.execute(dnnl.stream, args_);
  dnnl.stream.wait();
}

dnnl::primitive_attr UserScratchpad() {
  dnnl::primitive_attr attr;
  attr.set_scratchpad_mode(dnnl::scratchpad_mode::user);
  return attr;
}

void InitReorder(const OneDnn& dnnl, const dnnl::memory::desc& from,
                 const dnnl::memory::desc& to, bool add,
                 BoundPrimitive* reorder) {
  dnnl::primitive_attr attr = UserScratchpad();
  if (add) {
    dnnl::post_ops sum;
    sum.append_sum(1.0f);
    attr.set_post_ops(sum);
  }
  dnnl::reorder::primitive_desc pd(dnnl.engine, from, dnnl.engine, to, attr);
  reorder->Init(dnnl, dnnl::reorder(pd), pd.scratchpad_desc());
  reorder->Arg(DNNL_ARG_FROM, from);
  reorder->Arg(DNNL_ARG_TO, to);
}

}  // namespace cssp::cpu
