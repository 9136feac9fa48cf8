#include "worker/layers/neuron_layer.h"

#include "worker/layers/formats.h"

namespace cssp {

LayerTraits NeuronLayer::Traits() const {
  const NeuronTraits neuron = neuron_traits();
  LayerTraits traits;
  traits.backward_reads_bottom = neuron.reads_bottom ? 1 : 0;
  traits.backward_reads_top = neuron.reads_top ? 1 : 0;
  traits.in_place = !neuron.reads_bottom;
  traits.has_backward = neuron.has_backward;
  traits.in_caffe = neuron.in_caffe;
  return traits;
}

FormatChoice NeuronLayer::ChooseFormats(absl::Span<const TensorDesc> bottom,
                                        absl::Span<const Shape> top) const {
  Format format = bottom[0].format;
  if (!neuron_traits().keeps_zero && !FillsBlocks(bottom[0])) {
    format = Format::kCaffe;
  }
  return {{format}, {format}};
}

}  // namespace cssp
