#include "ops/deconv_sum.h"

#include <algorithm>

#include "copy_matrices.h"
#include "cpu/runtime/level.h"
#include "deconv_tile.h"
#include "tiles.h"

namespace refinedet::cpu {
namespace {

// Columns at a time. They stay in the cache between the product and the maps; and the product is large enough that
// the call, the threads' meeting and packing the weight once more do not show.
constexpr int64_t kTileBytes = 1600 << 10;
constexpr int64_t kMinTilePixels = 96;
constexpr int64_t kLargePlane = 256;  // pixels of an image that are enough for a product of their own
// Tiles of some channels of a large plane: their columns stay in L2, and threads find tiles of their own. The product
// packs its input, not its weight, once more for each; in bfloat16 that takes longer than it saves.
constexpr int64_t kBlockBytes = 400 << 10;
constexpr int64_t kMinBlockChannels = 64;

// Few CPUs have float16 products; those of bfloat16 are emulated on most.
DType product_type(DType dtype) {
  return dtype == DType::bf16 && multiplies_bfloat16() ? dtype : accumulate_type(dtype);
}

// Tiles of the input's lines, and of the forward pass's channels.
struct DeconvPlan {
  const DeconvSumShape& shape;
  DType compute;     // of all matrices
  int64_t lines;     // of a tile, at most: of some images, or a part of one
  int64_t channels;  // of a tile, at most

  // The forward pass's tiles of planes that are large enough hold some channels only.
  DeconvPlan(const DeconvSumShape& shape, bool forward) : shape(shape), compute(product_type(shape.dtype)) {
    const bool in_bfloat16 = compute == DType::bf16;
    const int64_t width = std::max<int64_t>(1, shape.in_width), height = shape.in_height;
    const int64_t line_bytes = 4 * std::max<int64_t>(1, shape.channels) * width * element_size(compute);
    const int64_t most = std::max({int64_t{1}, kMinTilePixels / width, kTileBytes / line_bytes});
    if (!shape.channels_last && most >= height) {
      const int64_t images = height * width >= kLargePlane && !in_bfloat16 ? 1 : most / height;
      lines = height * std::min(shape.batch, images);
    } else {
      const int64_t all = shape.channels_last ? shape.batch * height : height;
      lines = divide_up(all, divide_up(all, most));  // of even sizes
    }
    channels = shape.channels;
    if (forward && !shape.channels_last && !in_bfloat16 && lines <= height && height * width >= kLargePlane) {
      const int64_t channel_bytes = 4 * lines * width * element_size(compute);
      channels = std::min(channels, std::max(kMinBlockChannels, kBlockBytes / channel_bytes / 32 * 32));
    }
  }

  bool one_tile() const { return lines == shape.in_lines(); }
  bool several_images() const { return lines > shape.in_height; }
  bool converts() const { return shape.dtype != compute; }
  int64_t channel_blocks() const { return divide_up(shape.channels, channels); }
  // In the order of sums over tiles; all blocks of channels of the same lines follow each other.
  int64_t tiles() const {
    const bool parts = !shape.channels_last && lines < shape.in_height;
    return (parts ? shape.batch * divide_up(shape.in_height, lines) : divide_up(shape.in_lines(), lines)) *
           channel_blocks();
  }
  int64_t column_bytes() const { return 4 * channels * lines * shape.in_width * element_size(compute); }
  // Planes of several images are copied to rows of channels for one product. In bfloat16 every matrix is brought to
  // the order of the product: a library takes longer over that itself.
  bool packs() const { return converts() || (!shape.channels_last && (compute == DType::bf16 || several_images())); }
  int64_t packed_bytes(bool backward) const {
    const bool needed = packs() || (backward && compute == DType::bf16);
    return needed ? shape.in_channels * lines * shape.in_width * element_size(compute) : 0;
  }
};

// One tile: input (pixels, Ci) x weight (Ci, 4 Co) = columns (pixels, 4 Co).
//
// Matrices of pixels are written with the pixels as rows. Only strides know that without channels_last each channel's
// pixels lie side by side in memory: a product takes both.
class DeconvTile {
 public:
  // `columns` and `packed`: memory of the sizes that the plan says.
  DeconvTile(const DeconvPlan& plan, int64_t number, char* columns, char* packed)
      : plan_(plan), shape_(plan.shape), columns_(columns), packed_(packed) {
    const int64_t height = shape_.in_height, blocks = plan.channel_blocks();
    const int64_t lines = number / blocks;  // the same ones for all blocks, one after the other
    int64_t count = 0;
    if (!shape_.channels_last && plan.lines < height) {
      const int64_t per_image = divide_up(height, plan.lines), first = lines % per_image * plan.lines;
      line_ = lines / per_image * height + first;
      count = std::min(plan.lines, height - first);
    } else {
      line_ = lines * plan.lines;
      count = std::min(plan.lines, shape_.in_lines() - line_);
    }
    first_channel_ = number % blocks * plan.channels;
    tile_ = {.dtype = shape_.dtype,
             .columns = plan.compute,
             .channels_last = shape_.channels_last,
             .taps_inner = shape_.taps_inner,
             .channels = std::min(plan.channels, shape_.channels - first_channel_),
             .in_height = height,
             .in_width = shape_.in_width,
             .out_height = shape_.out_height,
             .out_width = shape_.out_width,
             .first_line = line_,
             .lines = count};
    if (blocks > 1) {  // as if its channels were all that an image has
      tile_.first_line = line_ % height;
      maps_offset_ = (line_ / height * shape_.channels + first_channel_) * shape_.out_height * shape_.out_width;
    }
  }

  const DeconvSumTile& tile() const { return tile_; }
  // Where the tile's channels begin, in the maps and in the bias.
  int64_t maps_offset() const { return maps_offset_; }
  int64_t first_channel() const { return first_channel_; }

  Matrix columns() const { return dense_matrix(columns_, plan_.compute, pixels(), 4 * tile_.channels); }

  // `weight`: of the plan's type.
  Matrix weight(const void* weight) const {
    const int64_t line = 4 * shape_.channels;
    return {element(weight, 4 * first_channel_, plan_.compute),
            plan_.compute,
            1,
            shape_.in_channels,
            4 * tile_.channels,
            0,
            line,
            1};
  }

  Matrix input(const void* input, const ParallelFor& parallel) const {
    if (!plan_.packs()) {
      return in_place(input);
    }
    const Packed packed = packed_pixels();
    copy_matrices({.from = in_place_by_image(input), .to = packed.by_image, .add = false, .overflow = false}, parallel);
    return packed.all;
  }

  // (Ci, pixels), for the gradient of the weight.
  Matrix input_transposed(const void* input, const ParallelFor& parallel) const {
    if (plan_.compute != DType::bf16) {
      return this->input(input, parallel).transposed();
    }
    if (!shape_.channels_last && !plan_.several_images()) {
      return in_place(input).transposed();
    }
    const Packed packed = packed_planes();
    copy_matrices({.from = in_place_by_image(input), .to = packed.by_image, .add = false, .overflow = false}, parallel);
    return packed.all.transposed();
  }

  // The tile's part of the input's gradient, from that of the columns.
  void write_grad_input(const Matrix& weight, void* grad_input, const Gemm& gemm, const ParallelFor& parallel) const {
    if (!plan_.packs()) {
      return gemm.write(columns(), weight.transposed(), in_place(grad_input));
    }
    const Packed packed = packed_pixels();
    gemm.write(columns(), weight.transposed(), packed.all);
    round_matrix(packed.by_image, in_place_by_image(grad_input), parallel);
  }

 private:
  // Pixels in memory of the tile's own: as one matrix for products, and per image for copies.
  struct Packed {
    Matrix all, by_image;
  };

  int64_t pixels() const { return tile_.lines * shape_.in_width; }
  int64_t images() const { return shape_.channels_last ? 1 : std::max<int64_t>(1, tile_.lines / shape_.in_height); }

  // A part of a single image's planes that is only converted keeps its order.
  Packed packed_pixels() const {
    return !shape_.channels_last && plan_.compute != DType::bf16 && !plan_.several_images() ? packed_planes()
                                                                                            : packed_rows();
  }
  Packed packed_rows() const {
    const int64_t channels = shape_.in_channels, each = pixels() / images();
    return {{packed_, plan_.compute, 1, pixels(), channels, 0, channels, 1},
            {packed_, plan_.compute, images(), each, channels, each * channels, channels, 1}};
  }
  Packed packed_planes() const {
    const int64_t channels = shape_.in_channels, each = pixels() / images();
    return {{packed_, plan_.compute, 1, pixels(), channels, 0, 1, pixels()},
            {packed_, plan_.compute, images(), each, channels, each, 1, pixels()}};
  }

  // Of maps like the input.
  Matrix in_place(const void* maps) const {
    Matrix all = in_place_by_image(maps);
    all.count = 1;
    all.rows = pixels();
    return all;
  }
  Matrix in_place_by_image(const void* maps) const {
    const int64_t channels = shape_.in_channels, width = shape_.in_width, height = shape_.in_height;
    const FeatureMaps all{unconst(maps), shape_.dtype, channels, height * width, shape_.channels_last};
    return all.matrix({line_ / height, images(), line_ % height * width, pixels() / images()}, 0, channels);
  }

  const DeconvPlan& plan_;
  const DeconvSumShape& shape_;
  char *columns_, *packed_;
  DeconvSumTile tile_{};
  int64_t line_ = 0;  // the tile's first one in the batch
  int64_t first_channel_ = 0, maps_offset_ = 0;
};

// The weight in the type of the products.
class ProductWeight {
 public:
  ProductWeight(const DeconvPlan& plan, const void* weight, const ParallelFor& parallel) : data_(weight) {
    if (plan.converts()) {
      const int64_t rows = plan.shape.in_channels, columns = 4 * plan.shape.channels;
      copy_.emplace(rows * columns * element_size(plan.compute), "the weight of deconv_sum");
      data_ = copy_->data();
      copy_matrices({.from = dense_matrix(unconst(weight), plan.shape.dtype, rows, columns),
                     .to = dense_matrix(copy_->data(), plan.compute, rows, columns),
                     .add = false,
                     .overflow = false},
                    parallel);
    }
  }
  const void* data() const { return data_; }

 private:
  const void* data_;
  std::optional<Scratch> copy_;
};

// grad_bias from the sums over all pixels of each column's gradient.
template <class T>
void sum_taps(const DeconvSumShape& shape, const double* sums, void* grad_bias) {
  const int64_t channels = shape.channels;
  const int64_t channel_stride = shape.taps_inner ? 4 : 1, tap_stride = shape.taps_inner ? 1 : channels;
  for (int64_t c = 0; c < channels; ++c) {
    const double* taps = sums + c * channel_stride;
    const double sum = taps[0] + taps[tap_stride] + taps[2 * tap_stride] + taps[3 * tap_stride];
    static_cast<T*>(grad_bias)[c] = round_to<T>(static_cast<Accumulate<T>>(sum));
  }
}

}  // namespace

// Each thread has tiles of its own where that keeps all of them busy: they meet once, not twice per tile. Else they
// work together on one after the other.
void deconv_sum(const DeconvSumArgs& args, const ParallelFor& parallel, const Gemm& gemm) {
  const DeconvPlan plan(args.shape, /*forward=*/true);
  const ProductWeight weight(plan, args.weight, parallel);
  const int64_t tiles = plan.tiles(), threads = parallel.threads();
  const int64_t workers = threads == 1 || (tiles % threads != 0 && tiles < 4 * threads) ? 1 : threads;
  const int64_t column_bytes = round_up(plan.column_bytes(), 64);
  const int64_t bytes = column_bytes + round_up(plan.packed_bytes(/*backward=*/false), 64);
  const Scratch memory(workers * bytes, "the columns of deconv_sum");
  const auto further = [&](const void* p, int64_t elements) {
    return p == nullptr ? nullptr : element(p, elements, args.shape.dtype);
  };
  const auto work = [&](int64_t worker, const ParallelFor& inner) {
    char* const columns = memory.data() + worker * bytes;
    for (int64_t i = worker * tiles / workers; i < (worker + 1) * tiles / workers; ++i) {
      const DeconvTile tile(plan, i, columns, columns + column_bytes);
      gemm.write(tile.input(args.input, inner), tile.weight(weight.data()), tile.columns());
      deconv_scatter({.tile = tile.tile(),
                      .columns = columns,
                      .bias = further(args.bias, tile.first_channel()),
                      .lateral = further(args.lateral, tile.maps_offset()),
                      .relu = args.relu,
                      .out = further(args.out, tile.maps_offset())},
                     inner);
    }
  };
  if (workers == 1) {
    return work(0, parallel);
  }
  parallel(workers, 1, [&](int64_t begin, int64_t end) {
    for (int64_t worker = begin; worker < end; ++worker) {
      work(worker, ParallelFor(nullptr, nullptr, 1));
    }
  });
}

void deconv_sum_backward(const DeconvSumBackwardArgs& args, const ParallelFor& parallel, const Gemm& gemm) {
  const DeconvSumShape& shape = args.shape;
  const DeconvPlan plan(shape, /*forward=*/false);
  const ProductWeight weight(plan, args.weight, parallel);
  const int64_t lines = 4 * shape.channels;
  const Scratch columns(plan.column_bytes(), "the columns of deconv_sum");
  const Scratch packed(plan.packed_bytes(/*backward=*/true), "the input of a tile of deconv_sum");
  const bool want_bias = args.grad_bias != nullptr;
  const Scratch sums(want_bias ? lines * static_cast<int64_t>(sizeof(double)) : 0, "the sums of the bias's gradient");
  double* const bias_sums = reinterpret_cast<double*>(sums.data());
  std::fill(bias_sums, bias_sums + (want_bias ? lines : 0), 0.0);
  std::optional<WeightGrad> grad_weight;
  if (args.grad_weight != nullptr) {
    const Matrix product = dense_matrix(nullptr, plan.compute, shape.in_channels, lines);
    grad_weight.emplace(WeightGrad::Layout{.product = product,
                                           .result = dense_matrix(args.grad_weight, shape.dtype, product.rows, lines),
                                           .same_order = true,
                                           .apart = !plan.one_tile()});
  }
  for (int64_t i = 0; i < plan.tiles(); ++i) {
    const DeconvTile tile(plan, i, columns.data(), packed.data());
    deconv_gather({.tile = tile.tile(),
                   .grad = args.grad,
                   .out = args.out,
                   .columns = columns.data(),
                   .grad_lateral = args.grad_lateral},
                  parallel);
    const Matrix grad_columns = tile.columns();
    if (want_bias) {
      deconv_column_sum({.columns_dtype = plan.compute,
                         .columns = columns.data(),
                         .pixels = grad_columns.rows,
                         .count = lines,
                         .sums = bias_sums},
                        parallel);
    }
    if (grad_weight) {
      grad_weight->add_tile(tile.input_transposed(args.input, parallel), grad_columns, gemm, parallel);
    }
    if (args.grad_input != nullptr) {
      tile.write_grad_input(tile.weight(weight.data()), args.grad_input, gemm, parallel);
    }
  }
  if (grad_weight) {
    grad_weight->write(parallel);
  }
  if (want_bias) {
    dispatch_floating(shape.dtype, [&]<class T>(Tag<T>) { sum_taps<T>(shape, bias_sums, args.grad_bias); });
  }
}

}  // namespace refinedet::cpu
