#include "absl/strings/str_cat.h"
#include "tests/unit/worker/layers/cuda/layer_case.h"

namespace cssp::testing {
namespace {

LayerCase Conv(const std::string& param, std::vector<BottomCase> bottom,
               const std::string& type = "Convolution") {
  const int tops = static_cast<int>(bottom.size());
  return {type, absl::StrCat("convolution_param { ", param, " }"),
          std::move(bottom), kProducts, tops};
}

LayerCase Pool(const std::string& param, Shape bottom, int tops = 1,
               caffe::Phase phase = caffe::TRAIN) {
  return {.type = "Pooling",
          .param = absl::StrCat("pooling_param { ", param, " }"),
          .bottom = {Distincts(bottom)},
          .tops = tops,
          .phase = phase};
}

LayerCases ConvolutionCases() {
  return {
      Conv("num_output: 4 kernel_size: 3", {Normals({2, 3, 7, 8})}),
      // LeNet, cifar10_quick, AlexNet's first and grouped ones, GoogLeNet,
      // ResNet.
      Conv("num_output: 20 kernel_size: 5", {Normals({4, 1, 28, 28})}),
      Conv("num_output: 32 pad: 2 kernel_size: 5", {Normals({3, 3, 32, 32})}),
      Conv("num_output: 16 kernel_size: 11 stride: 4",
           {Normals({2, 3, 67, 67})}),
      Conv("num_output: 32 pad: 2 kernel_size: 5 group: 2",
           {Normals({2, 16, 13, 13})}),
      Conv("num_output: 24 kernel_size: 1", {Normals({2, 48, 14, 14})}),
      Conv("num_output: 16 pad: 3 kernel_size: 7 stride: 2",
           {Normals({2, 3, 32, 32})}),
      Conv("num_output: 32 kernel_size: 1 stride: 2 bias_term: false",
           {Normals({2, 16, 14, 14})}),
      Conv("num_output: 64 pad: 1 kernel_size: 3 bias_term: false",
           {Normals({2, 64, 14, 14})}),
      Conv("num_output: 6 kernel_h: 3 kernel_w: 2 pad_h: 0 pad_w: 1 "
           "stride_h: 1 stride_w: 2",
           {Normals({2, 4, 6, 9})}),
      Conv("num_output: 6 kernel_size: 3 dilation: 2 pad: 2",
           {Normals({2, 4, 9, 10})}),
      Conv("num_output: 6 kernel_size: 3 group: 3",
           {Normals({2, 6, 5, 5}), Normals({2, 6, 5, 5})}),
      Conv("num_output: 5 kernel_size: 3 stride: 2", {Normals({2, 3, 21})}),
      Conv("num_output: 4 kernel_size: 3 pad: 1", {Normals({2, 3, 5, 6, 7})}),
      Conv("num_output: 4 kernel_size: 2 stride: 2 dilation: 2",
           {Normals({2, 2, 7, 8, 9})}),
      Conv("num_output: 6 axis: 2 kernel_size: 3", {Normals({2, 2, 3, 6, 7})}),
      Conv("num_output: 8 kernel_size: 3 pad: 1", {Normals({2, 8, 9, 9})},
           "DepthwiseConvolution"),
      Conv("num_output: 12 kernel_size: 3", {Normals({2, 6, 8, 8})},
           "ConvolutionDepthwise"),
      Conv("num_output: 4 kernel_size: 3 stride: 2", {Normals({2, 3, 5, 6})},
           "Deconvolution"),
      Conv("num_output: 6 kernel_size: 4 stride: 2 pad: 1 group: 6 "
           "bias_term: false",
           {Normals({2, 6, 5, 5})}, "Deconvolution"),
      Conv("num_output: 4 kernel_size: 3 stride: 2 group: 2",
           {Normals({2, 6, 5, 4}), Normals({2, 6, 5, 4})}, "Deconvolution"),
      Conv("num_output: 3 kernel_size: 2 stride: 2", {Normals({2, 4, 3, 4, 5})},
           "Deconvolution"),
      Conv("num_output: 3 kernel_size: 3 stride: 2", {Normals({2, 4, 9})},
           "Deconvolution"),
      // More axes than cuDNN's.
      Conv("num_output: 4 kernel_size: 3 pad: 1", {Normals({2, 3, 4, 5, 3, 6})}),
      Conv("num_output: 6 kernel_size: 2 stride: 2 dilation: 2 pad: 1 group: 2",
           {Normals({2, 4, 5, 4, 6, 5}), Normals({2, 4, 5, 4, 6, 5})}),
      Conv("num_output: 3 kernel_size: 2 bias_term: false",
           {Normals({1, 2, 3, 2, 3, 2, 4})}),
      Conv("num_output: 4 axis: 2 kernel_size: 2",
           {Normals({2, 2, 3, 3, 4, 3, 4})}),
      Conv("num_output: 4 kernel_size: 2 stride: 2 group: 2",
           {Normals({2, 2, 3, 2, 3, 2})}, "Deconvolution"),
      Conv("num_output: 2 kernel_size: 3 pad: 1", {Normals({3, 3, 2, 3, 2, 3})},
           "Deconvolution"),
  };
}

LayerCases PoolingCases() {
  return {
      Pool("kernel_size: 2 stride: 2", {2, 3, 8, 8}),
      Pool("kernel_size: 3 stride: 2", {2, 3, 8, 9}),
      Pool("kernel_size: 3 stride: 2", {2, 5, 55, 55}),
      Pool("kernel_size: 3 stride: 1 pad: 1", {2, 3, 7, 7}),
      Pool("kernel_size: 3 stride: 2 pad: 1", {2, 3, 8, 8}, 2),
      Pool("kernel_h: 3 kernel_w: 2 stride_h: 2 stride_w: 1", {2, 3, 8, 9}, 2),
      Pool("kernel_size: 2 stride: 3", {2, 3, 8, 9}),
      Pool("kernel_size: 3 stride: 2 round_mode: FLOOR", {2, 3, 8, 8}),
      Pool("global_pooling: true", {2, 3, 7, 5}),
      Pool("pool: AVE kernel_size: 3 stride: 2", {2, 3, 8, 9}),
      Pool("pool: AVE kernel_size: 3 stride: 2 pad: 1", {2, 3, 8, 8}),
      Pool("pool: AVE kernel_size: 3 stride: 2 pad: 2", {2, 3, 7, 8}),
      Pool("pool: AVE kernel_h: 2 kernel_w: 4 pad_h: 1 pad_w: 0", {1, 2, 5, 9}),
      Pool("pool: AVE kernel_size: 2 stride: 3", {2, 3, 8, 9}),
      Pool("pool: AVE global_pooling: true", {2, 16, 7, 7}),
      Pool("kernel_size: 3 stride: 2", {2, 3, 17}),
      Pool("kernel_size: 2 stride: 2", {2, 3, 5, 6, 7}, 2),
      Pool("pool: AVE kernel_size: 3 stride: 2 pad: 1", {2, 3, 5, 6, 7}),
      Pool("pool: STOCHASTIC kernel_size: 3 stride: 2", {2, 3, 8, 9}),
      Pool("pool: STOCHASTIC kernel_size: 2 stride: 2", {2, 3, 8, 9}, 1,
           caffe::TEST),
      {"SPP", "spp_param { pyramid_height: 3 }", {Distincts({2, 3, 9, 11})}},
      {"SPP",
       "spp_param { pyramid_height: 1 pool: AVE }",
       {Distincts({2, 3, 9, 11})}},
      {"SPP",
       "spp_param { pyramid_height: 2 pool: AVE }",
       {Distincts({2, 3, 9, 11})}},
      {"SPP",
       "spp_param { pyramid_height: 3 pool: STOCHASTIC }",
       {Distincts({2, 3, 9, 11})}},
  };
}

LayerCases Im2colCases() {
  const auto im2col = [](const std::string& param, Shape shape) {
    return LayerCase{"Im2col",
                     absl::StrCat("convolution_param { ", param, " }"),
                     {Normals(shape)}};
  };
  return {
      im2col("kernel_size: 3 stride: 2 pad: 1", {2, 3, 7, 8}),
      im2col("kernel_h: 2 kernel_w: 3 dilation: 2", {2, 3, 7, 8}),
      im2col("kernel_size: 2", {2, 3, 9}),
      im2col("kernel_size: 2 stride: 2 pad: 1", {1, 2, 4, 5, 6}),
      im2col("kernel_size: 2 pad: 1", {2, 2, 3, 2, 3, 4}),
  };
}

LayerCases LrnCases() {
  const auto lrn = [](const std::string& param, Shape shape) {
    return LayerCase{"LRN",
                     absl::StrCat("lrn_param { ", param, " }"),
                     {Normals(shape)},
                     kProducts};
  };
  return {
      lrn("", {2, 7, 3, 4}),
      lrn("local_size: 5 alpha: 0.0001 beta: 0.75", {2, 16, 9, 9}),
      lrn("local_size: 3 alpha: 2 beta: 0.5 k: 2", {2, 2, 5, 5}),
      lrn("local_size: 15 alpha: 1", {1, 7, 3, 3}),
      lrn("local_size: 3 norm_region: WITHIN_CHANNEL", {2, 3, 7, 8}),
      lrn("local_size: 5 alpha: 0.5 beta: 0.6 k: 3 norm_region: WITHIN_CHANNEL",
          {1, 2, 4, 3}),
  };
}

}  // namespace

LayerCases VisionCases() {
  LayerCases all = ConvolutionCases();
  for (const LayerCases& more : {PoolingCases(), Im2colCases(), LrnCases()}) {
    all.insert(all.end(), more.begin(), more.end());
  }
  return all;
}

}  // namespace cssp::testing
