// deconv_sum and its backward on a GPU. What deconv_product.cu takes, is one kernel there. Else the products are the
// caller's and the maps' side is kernels of ours (deconv_maps.cu), tile by tile, so that the columns between them stay
// in the L2.
#include <algorithm>

#include "cuda/primitives/device.h"
#include "deconv_product.h"
#include "deconv_tile.h"
#include "ops/deconv_sum.h"
#include "weight_grad.h"

namespace refinedet::cuda {
namespace {

// Columns at a time: so few that they stay in the L2 of a large GPU between the product and the maps, so many that the
// product fills all of it several times over.
constexpr int64_t kTileBytes = 32 << 20;

// input (pixels, Ci) x weight (Ci, 4 Co) = columns (pixels, 4 Co) for one tile after the other: whole images, or lines
// of one where its columns alone are too many. Channels-last the pixels of a tile are one matrix, else each image's are
// one of a batch of matrices; that each channel's pixels then lie side by side only the strides know.
class DeconvTiles {
 public:
  // Before the first tile. `products`: whether columns are wanted at all.
  DeconvTiles(const DeconvSumShape& shape, bool products, Workspace& memory) : shape_(shape) {
    tile_ = {.dtype = shape.dtype,
             .columns = shape.dtype,
             .channels_last = shape.channels_last,
             .taps_inner = shape.taps_inner,
             .channels = shape.channels,
             .in_height = shape.in_height,
             .in_width = shape.in_width,
             .out_height = shape.out_height,
             .out_width = shape.out_width,
             .first_line = 0,
             .lines = 0};
    const int64_t line_size = 4 * shape.channels * shape.in_width, height = shape.in_height;
    const int64_t lines = std::max<int64_t>(1, kTileBytes / (line_size * element_size(shape.dtype)));
    most_lines_ = lines < height ? lines : std::min(shape.batch, lines / height) * height;
    if (products) {
      columns_ = memory.take<char>(line_size * most_lines_ * element_size(shape.dtype));
    }
  }

  // Goes on to the next tile; false after the last.
  bool next() {
    tile_.first_line += tile_.lines;
    tile_.lines = std::min(most_lines_, shape_.in_lines() - tile_.first_line);
    if (most_lines_ < shape_.in_height) {
      tile_.lines = std::min(tile_.lines, shape_.in_height - tile_.first_line % shape_.in_height);
    }
    return tile_.lines > 0;
  }
  bool last() const { return tile_.first_line + tile_.lines == shape_.in_lines(); }

  const DeconvSumTile& tile() const { return tile_; }
  void* column_data() const { return columns_; }

  // Matrices of a tile, and how many there are of each; at most, too.
  int64_t matrices() const { return matrices_of(tile_.lines); }
  int64_t most_matrices() const { return matrices_of(most_lines_); }
  bool one_in_all() const { return most_lines_ == shape_.in_lines() && most_matrices() == 1; }

  // (pixels, Ci) of maps of the input's shape.
  Matrix input(const void* maps) const {
    const int64_t channels = shape_.in_channels, plane = shape_.in_pixels(), height = shape_.in_height;
    const int64_t line = tile_.first_line, width = shape_.in_width, size = element_size(shape_.dtype);
    char* const data = static_cast<char*>(const_cast<void*>(maps));
    if (shape_.channels_last) {
      return {data + line * width * channels * size, shape_.dtype, 1, pixels(), channels, 0, channels, 1};
    }
    const int64_t first = line / height * channels * plane + line % height * width;
    return {data + first * size, shape_.dtype, matrices(), pixels(), channels, channels * plane, 1, plane};
  }
  // (pixels, 4 Co)
  Matrix columns() const {
    const int64_t n = 4 * shape_.channels;
    return shape_.channels_last ? dense_matrix(columns_, shape_.dtype, pixels(), n)
                                : Matrix{columns_, shape_.dtype, matrices(), pixels(), n, n * pixels(), 1, pixels()};
  }
  // (Ci, 4 Co), one for all.
  Matrix weight(const void* data) const {
    Matrix weight = dense_matrix(const_cast<void*>(data), shape_.dtype, shape_.in_channels, 4 * shape_.channels);
    weight.count = matrices();
    weight.matrix_stride = 0;
    return weight;
  }
  // (Ci, 4 Co), of which a tile's part of the weight's gradient is the sum.
  Matrix weight_terms(void* data) const {
    Matrix terms = dense_matrix(data, shape_.dtype, shape_.in_channels, 4 * shape_.channels);
    terms.count = matrices();
    return terms;
  }

 private:
  int64_t matrices_of(int64_t lines) const {
    return shape_.channels_last ? 1 : std::max<int64_t>(1, lines / shape_.in_height);
  }
  int64_t pixels() const { return tile_.lines * shape_.in_width / matrices(); }  // of a matrix

  const DeconvSumShape& shape_;
  DeconvSumTile tile_;
  int64_t most_lines_;
  void* columns_ = nullptr;
};

DeconvBiasArgs bias_args(const DeconvSumBackwardArgs& args) {
  return {.dtype = args.shape.dtype,
          .channels_last = args.shape.channels_last,
          .batch = args.shape.batch,
          .channels = args.shape.channels,
          .pixels = args.shape.out_height * args.shape.out_width,
          .grad = args.out != nullptr ? args.grad_lateral : args.grad,
          .grad_bias = args.grad_bias};
}

// What a backward call works with; where `memory` only counts, nothing else.
struct Backward {
  DeconvTiles tiles;
  WeightGrad weight;  // where it is wanted
  void* bias_workspace = nullptr;

  Backward(const DeconvSumBackwardArgs& args, Workspace& memory)
      : tiles(args.shape, args.grad_input != nullptr || args.grad_weight != nullptr, memory) {
    if (args.grad_weight != nullptr) {
      weight = WeightGrad(args.shape.dtype, args.shape.weight_size(), tiles.most_matrices(), !tiles.one_in_all(),
                          args.grad_weight, memory);
    }
    if (args.grad_bias != nullptr) {
      bias_workspace = memory.take<char>(deconv_bias_workspace(bias_args(args)));
    }
  }
};

}  // namespace

int64_t deconv_sum_workspace(const DeconvSumArgs& args, const Gemm& gemm) {
  if (deconv_product_takes(args, gemm.tf32())) {
    return 0;
  }
  Workspace memory;
  DeconvTiles tiles(args.shape, /*products=*/true, memory);
  return memory.bytes();
}

void deconv_sum(const DeconvSumArgs& args, void* workspace, Stream stream, const Gemm& gemm) {
  if (deconv_product_takes(args, gemm.tf32())) {
    return deconv_product(args, stream);
  }
  Workspace memory(workspace);
  DeconvTiles tiles(args.shape, /*products=*/true, memory);
  while (tiles.next()) {
    gemm.write(tiles.input(args.input), tiles.weight(args.weight), tiles.columns());
    deconv_scatter({.tile = tiles.tile(),
                    .columns = tiles.column_data(),
                    .bias = args.bias,
                    .lateral = args.lateral,
                    .relu = args.relu,
                    .out = args.out},
                   stream);
  }
}

int64_t deconv_sum_backward_workspace(const DeconvSumBackwardArgs& args) {
  Workspace memory;
  Backward call(args, memory);
  return memory.bytes();
}

void deconv_sum_backward(const DeconvSumBackwardArgs& args, void* workspace, Stream stream, const Gemm& gemm) {
  Workspace memory(workspace);
  Backward call(args, memory);
  DeconvTiles& tiles = call.tiles;
  const bool products = args.grad_input != nullptr || args.grad_weight != nullptr;
  while ((products || args.out != nullptr) && tiles.next()) {
    deconv_gather({.tile = tiles.tile(),
                   .grad = args.grad,
                   .out = args.out,
                   .columns = tiles.column_data(),
                   .grad_lateral = args.grad_lateral},
                  stream);
    if (args.grad_weight != nullptr) {
      gemm.write(tiles.input(args.input).transposed(), tiles.columns(), tiles.weight_terms(call.weight.terms()));
      call.weight.add(tiles.matrices(), tiles.last(), stream);
    }
    if (args.grad_input != nullptr) {
      gemm.write(tiles.columns(), tiles.weight(args.weight).transposed(), tiles.input(args.grad_input));
    }
  }
  if (args.grad_bias != nullptr) {
    deconv_bias(bias_args(args), call.bias_workspace, stream);
  }
}

}  // namespace refinedet::cuda
