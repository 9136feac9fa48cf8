#include "tests/unit/worker/layers/cuda/layer_case.h"

namespace cssp::testing {

LayerCases RearrangeCases() {
  const Shape small = {3, 4, 5, 6};
  const BottomCase n = Normals(small);
  return {
      {"Crop", "crop_param { offset: 1 }", {n, Normals({9, 9, 3, 4})}},
      {"Crop",
       "crop_param { axis: 1 offset: 1 offset: 2 offset: 0 }",
       {n, Normals({9, 2, 3, 6})}},
      {"Tile", "tile_param { tiles: 3 }", {n}},
      {"Tile", "tile_param { axis: -1 tiles: 2 }", {n}},
      {"Permute", "permute_param { order: 0 order: 2 order: 3 order: 1 }", {n}},
      {"Permute", "permute_param { order: 3 order: 0 }", {n}},
      {"ShuffleChannel", "shuffle_channel_param { group: 2 }", {n}},
      {"ShuffleChannel",
       "shuffle_channel_param { group: 3 }",
       {Normals({2, 6, 7})}},
      {"Parameter", "parameter_param { shape { dim: 3 dim: 70 } }", {}},
      {"PriorBox",
       "prior_box_param { min_size: 30 max_size: 60 aspect_ratio: 2 flip: true "
       "variance: 0.1 variance: 0.1 variance: 0.2 variance: 0.2 }",
       {Normals({1, 2, 5, 7}), Normals({1, 3, 100, 90})}},
      {"Embed",
       "embed_param { num_output: 5 input_dim: 9 }",
       {Labels({4, 3}, 9)}},
      {"Embed",
       "embed_param { num_output: 130 input_dim: 1000 }",
       {Labels({300}, 40)}},
      {"Embed",
       "embed_param { num_output: 1 input_dim: 3 bias_term: false }",
       {Labels({100}, 3)}},
      {"BatchReindex", "", {n, Labels({7}, 3)}},
      {"BatchReindex", "", {Normals({5, 40}), Labels({300}, 5)}},
      {"Interp", "interp_param { height: 9 width: 7 }", {n}},
      {"Interp", "interp_param { zoom_factor: 3 }", {n}},
      {"Interp", "interp_param { shrink_factor: 2 }", {Normals({2, 3, 9, 11})}},
      {"Interp",
       "interp_param { height: 1 width: 13 pad_beg: -1 pad_end: -1 }",
       {n}},
      {"Interp",
       "interp_param { height: 37 width: 41 }",
       {Normals({2, 2, 1, 5})}},
      {"Upsample", "upsample_param { scale: 2 }", {n}},
      {"Upsample", "upsample_param { scale: 3 }", {n}},
  };
}

}  // namespace cssp::testing
