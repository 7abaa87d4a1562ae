// deform_align and its backward on a GPU.
//
// The images are wanted channels last, a contiguous input is copied so, and the output pixels are taken by tiles, whose
// columns are sampled by a kernel and multiplied with the weights by one product. Tiles go on from one image to the
// next, as products are fast when they have thousands of rows; columns have the input's type; groups lie side by side
// in a row. Weights in channels_last order are the matrix that the product wants, and the bias is what it is added to:
// nothing is made of either. Weights in the other order, no stride of which tells a matrix, are put into order in every
// call: a copy kept from the last one could not know of weights that changed since, least of all in a CUDA graph.
//
// Sampling and product in one kernel, counted for the case in deform_columns.cu (17 to 20 us of sampling, 21 to 25 us
// of product, 1 us between them: 39 to 46 us in all). A block must have all 256 outputs of its pixels, or it samples
// them again: 112 pixels, 115 blocks on 132 multiprocessors. Its product takes 52,000 cycles (30 us) by mma.sync, which
// reaches 62% of the tensor cores' 2,048 multiply-adds a cycle; sampling issues 35,000 instructions on each scheduler,
// the product 16,000 more; every block reads all weights, 136 MB from the L2 together, 25 us. Were all of that
// perfectly side by side it would be 30 us; with accumulators in half of all registers, so that 8 warps are left to
// sample, 38 to 45 us are likelier. That gains nothing sure, so there are two kernels. What would gain (25 to 28 us) is
// wgmma with weights sent to several blocks at once: instructions of sm_90a alone.
#include <algorithm>
#include <limits>
#include <optional>

#include "cuda/primitives/device.h"
#include "deform_tile.h"
#include "deform_weights.h"
#include "ops/deform_align.h"
#include "pixel_planes.h"
#include "weight_grad.h"

namespace refinedet::cuda {
namespace {

// Columns of a tile. A product of 256 output channels fills an H200 from some 10,000 rows on, 46 MB in bfloat16.
constexpr int64_t kColumnBytes = int64_t{64} << 20;
constexpr int64_t kMinRows = 128, kRowUnit = 128;
constexpr int64_t kImageBytes = int64_t{64} << 20;  // of the images' copies alive at once

// Where pixel `number` of rows of channels begins.
void* pixel_of(const void* rows, int64_t number, int64_t channels, DType dtype) {
  return static_cast<char*>(const_cast<void*>(rows)) + number * channels * element_size(dtype);
}

// Images taken together, and their output pixels by tiles.
struct DeformPlan {
  int64_t images;
  int64_t rows;  // of a tile, at most
  int64_t line;  // columns of a group's row: taps, channels, and zeros

  // `image_bytes`: what the copies of one image take up.
  DeformPlan(const DeformAlignShape& shape, int64_t image_bytes) {
    line = round_up(shape.geometry.taps() * shape.group_channels(), 8);
    images = std::clamp<int64_t>(kImageBytes / std::max<int64_t>(image_bytes, 1), 1, shape.batch);
    const int64_t row_bytes = shape.groups * line * element_size(shape.dtype);
    const int64_t samples = shape.geometry.taps() * shape.geometry.offset_groups;
    const int64_t most = std::max<int64_t>(1, std::numeric_limits<int32_t>::max() / samples);
    const int64_t fitting = std::min(std::max(kColumnBytes / row_bytes, kMinRows), most);
    const int64_t pixels = images * shape.geometry.out_pixels();
    const int64_t tiles = divide_up(pixels, fitting);  // of about the same size
    rows = std::min(pixels, std::min(fitting, round_up(divide_up(pixels, tiles), kRowUnit)));
  }
};

// A call's weights, pixels and columns.
class DeformTiles {
 public:
  // `reads`: whether the input's pixels are wanted.
  template <class Args>
  DeformTiles(const Args& args, const DeformPlan& plan, const void* bias, bool reads, Workspace& memory)
      : shape_(args.shape),
        plan_(plan),
        offset_(args.offset),
        center_(args.center),
        mask_(args.mask),
        input_(args.input),
        weight_(args.weight),
        bias_(bias) {
    const int64_t size = element_size(shape_.dtype);
    columns_ = memory.take<char>(plan.rows * shape_.groups * plan.line * size);
    if (reads && !shape_.channels_last) {
      copy_ = memory.take<char>(plan.images * shape_.channels * shape_.geometry.in_pixels() * size);
    }
    copies_pixels_ = reads && !shape_.channels_last;
    const bool in_order = shape_.weight_channels_last || shape_.geometry.taps() == 1;
    packs_weights_ = !in_order || plan.line != shape_.geometry.taps() * shape_.group_channels();
    if (packs_weights_) {
      packed_weights_ = memory.take<char>(shape_.out_channels * plan.line * size);
    }
  }

  void load_weights(Stream stream) const {
    if (packs_weights_) {
      deform_pack_weights(weight_shape(), weight_, packed_weights_, shape_.dtype, stream);
    }
  }

  // Calls f(first image, number of images) for the images taken together, and f(PixelRange) for the tiles of such.
  template <class F>
  void for_image_steps(const F& f) const {
    for (int64_t image = 0; image < shape_.batch; image += plan_.images) {
      f(image, std::min(plan_.images, shape_.batch - image));
    }
  }
  template <class F>
  void for_tiles(int64_t image, int64_t images, const F& f) const {
    const int64_t pixels = shape_.geometry.out_pixels(), end = (image + images) * pixels;
    for (int64_t pixel = image * pixels; pixel < end; pixel += plan_.rows) {
      f(PixelRange{pixel, std::min(plan_.rows, end - pixel)});
    }
  }

  void load_images(int64_t image, int64_t images, Stream stream) {
    const int64_t pixels = shape_.geometry.in_pixels();
    first_image_ = image;
    if (shape_.channels_last) {
      source_ = pixel_of(input_, image * pixels, shape_.channels, shape_.dtype);
    } else if (copies_pixels_) {
      planes_to_rows({shape_.channels, pixels, {image * pixels, images * pixels}}, input_, copy_, shape_.dtype, stream);
      source_ = copy_;
    }
  }

  // `rows`: where the bias goes, if there is one.
  DeformTile tile(PixelRange range, void* rows) const {
    return {.geometry = shape_.geometry,
            .offset = offset_,
            .center = center_,
            .mask = mask_,
            .range = range,
            .dtype = shape_.dtype,
            .channels = shape_.channels,
            .groups = shape_.groups,
            .source = source_,
            .first_image = first_image_,
            .columns = columns_,
            .line = plan_.line,
            .bias = bias_,
            .rows = rows,
            .out_channels = shape_.out_channels};
  }

  // Per group (rows, line).
  Matrix columns(PixelRange range) const {
    return {columns_, shape_.dtype, shape_.groups, range.count, plan_.line, plan_.line, shape_.groups * plan_.line, 1};
  }
  // Per group (output channels, line).
  Matrix weights() const {
    void* const data = packs_weights_ ? packed_weights_ : const_cast<void*>(weight_);
    return weight_matrix(data);
  }
  Matrix weight_matrix(void* data) const {
    const int64_t outputs = shape_.group_outputs();
    return {data, shape_.dtype, shape_.groups, outputs, plan_.line, outputs * plan_.line, plan_.line, 1};
  }
  // Dense rows of all output channels, per group (rows, output channels).
  Matrix out_rows(void* data, PixelRange range) const {
    const int64_t outputs = shape_.group_outputs();
    return {data, shape_.dtype, shape_.groups, range.count, outputs, outputs, shape_.out_channels, 1};
  }
  DeformWeights weight_shape() const {
    return {shape_.out_channels, shape_.group_channels(), shape_.geometry.taps(), shape_.weight_channels_last,
            plan_.line};
  }

 private:
  const DeformAlignShape& shape_;
  DeformPlan plan_;
  DeformMap offset_, center_, mask_;
  const void *input_, *weight_, *bias_;
  bool copies_pixels_, packs_weights_;
  void *columns_, *copy_ = nullptr, *packed_weights_ = nullptr;
  const void* source_ = nullptr;
  int64_t first_image_ = 0;
};

int64_t copied_bytes(const DeformAlignShape& shape, bool reads) {
  return reads && !shape.channels_last ? shape.channels * shape.geometry.in_pixels() * element_size(shape.dtype) : 0;
}

// The input's gradient, summed channels last: in float32 where it belongs if that is so, else beside it, in float32 or
// in integers whose sums have no order.
class InputGrad {
 public:
  InputGrad(const DeformAlignBackwardArgs& args, const DeformPlan& plan, Workspace& memory)
      : args_(args), size_(args.shape.channels * args.shape.geometry.in_pixels()), images_(plan.images) {
    if (args.deterministic) {
      maxima_ = memory.take<uint32_t>(3);
      unit_ = memory.take<FixedPoint>(1);
    }
    if (!is_direct(args)) {
      sums_ = memory.take<char>(sum_bytes());
      if (rounds_apart(args)) {
        rounded_ = memory.take<char>(plan.images * size_ * element_size(args.shape.dtype));
      }
    }
  }

  // Bytes beside the result, per image.
  static int64_t image_bytes(const DeformAlignBackwardArgs& args) {
    const int64_t size = args.shape.channels * args.shape.geometry.in_pixels();
    return is_direct(args)       ? 0
           : !args.deterministic ? 4 * size
                                 : (8 + (rounds_apart(args) ? element_size(args.shape.dtype) : 0)) * size;
  }

  void start(Stream stream) const {
    const DeformAlignShape& shape = args_.shape;
    const DeformGeometry& g = shape.geometry;
    if (args_.deterministic) {
      deform_fixed_point(
          {.dtype = shape.dtype,
           .grad = args_.grad,
           .weight = args_.weight,
           .grad_size = shape.batch * shape.out_channels * g.out_pixels(),
           .weight_size = shape.out_channels * shape.group_channels() * g.taps(),
           .outputs = shape.group_outputs(),
           .mask = args_.mask,
           .mask_size = args_.mask.data != nullptr ? shape.batch * g.offset_groups * g.taps() * g.out_pixels() : 0,
           .contributions = g.taps() * g.out_pixels(),
           .maxima = maxima_,
           .fixed = unit_},
          stream);
    }
    if (is_direct(args_)) {
      fill_zero(args_.grad_input, static_cast<size_t>(shape.batch * size_ * element_size(shape.dtype)), stream);
    }
  }
  void begin(int64_t image, Stream stream) {
    image_ = image;
    if (!is_direct(args_)) {
      fill_zero(sums_, static_cast<size_t>(sum_bytes()), stream);
    }
  }
  void* sums() const { return is_direct(args_) ? image_data() : sums_; }
  FixedPoint* unit() const { return unit_; }
  void end(int64_t images, Stream stream) const {
    if (is_direct(args_)) {
      return;
    }
    const DType dtype = args_.shape.dtype;
    const int64_t pixels = args_.shape.geometry.in_pixels();
    const PixelPlanes planes{args_.shape.channels, pixels, {0, images * pixels}};
    if (args_.shape.channels_last) {
      deform_round_sums(sums_, unit_, image_data(), dtype, images * size_, stream);
    } else if (rounds_apart(args_)) {
      deform_round_sums(sums_, unit_, rounded_, dtype, images * size_, stream);
      rows_to_planes(planes, rounded_, dtype, image_data(), dtype, stream);
    } else {
      rows_to_planes(planes, sums_, DType::f32, image_data(), dtype, stream);
    }
  }

 private:
  static bool is_direct(const DeformAlignBackwardArgs& args) {
    return args.shape.channels_last && args.shape.dtype == DType::f32 && !args.deterministic;
  }
  static bool rounds_apart(const DeformAlignBackwardArgs& args) {
    return args.deterministic && !args.shape.channels_last;
  }
  int64_t sum_bytes() const { return images_ * size_ * (args_.deterministic ? 8 : 4); }
  void* image_data() const {
    const DeformAlignShape& shape = args_.shape;
    return pixel_of(args_.grad_input, image_ * shape.geometry.in_pixels(), shape.channels, shape.dtype);
  }

  const DeformAlignBackwardArgs& args_;
  int64_t size_, images_, image_ = 0;
  uint32_t* maxima_ = nullptr;
  FixedPoint* unit_ = nullptr;
  void *sums_ = nullptr, *rounded_ = nullptr;
};

// What a call works with; where `memory` only counts, nothing else.
struct Forward {
  DeformTiles tiles;
  void* rows;  // of a tile, where the output is not channels last

  Forward(const DeformAlignArgs& args, Workspace& memory) : Forward(args, plan_of(args), memory) {}

 private:
  Forward(const DeformAlignArgs& args, const DeformPlan& plan, Workspace& memory)
      : tiles(args, plan, args.bias, /*reads=*/true, memory),
        rows(memory.take<char>(
            args.shape.channels_last ? 0 : plan.rows * args.shape.out_channels * element_size(args.shape.dtype))) {}
  static DeformPlan plan_of(const DeformAlignArgs& args) {
    return DeformPlan(args.shape, copied_bytes(args.shape, /*reads=*/true));
  }
};

struct Backward {
  DeformTiles tiles;
  WeightGrad weight;  // where it is wanted
  std::optional<InputGrad> input;
  void* rows;  // of a tile, where the incoming gradient is not channels last
  float* sample_grads = nullptr;

  Backward(const DeformAlignBackwardArgs& args, Workspace& memory) : Backward(args, plan_of(args), memory) {}

 private:
  Backward(const DeformAlignBackwardArgs& args, const DeformPlan& plan, Workspace& memory)
      : tiles(args, plan, /*bias=*/nullptr, reads(args), memory) {
    const DeformAlignShape& shape = args.shape;
    if (args.grad_weight != nullptr) {
      const bool several = plan.images < shape.batch || plan.rows < shape.batch * shape.geometry.out_pixels();
      weight = WeightGrad(shape.dtype, shape.out_channels * plan.line, /*most_terms=*/1, several, /*result=*/nullptr,
                          memory);
    }
    if (args.grad_input != nullptr) {
      input.emplace(args, plan, memory);
    }
    rows = memory.take<char>(args.grad_channels_last ? 0 : plan.rows * shape.out_channels * element_size(shape.dtype));
    if (args.wants_samples()) {
      sample_grads = memory.take<float>(3 * plan.rows * shape.geometry.taps() * shape.geometry.offset_groups);
    }
  }
  static bool reads(const DeformAlignBackwardArgs& args) { return args.grad_weight != nullptr || args.wants_samples(); }
  static DeformPlan plan_of(const DeformAlignBackwardArgs& args) {
    const int64_t summed = args.grad_input != nullptr ? InputGrad::image_bytes(args) : 0;
    return DeformPlan(args.shape, copied_bytes(args.shape, reads(args)) + summed);
  }
};

}  // namespace

int64_t deform_align_workspace(const DeformAlignArgs& args) {
  Workspace memory;
  Forward call(args, memory);
  return memory.bytes();
}

void deform_align(const DeformAlignArgs& args, void* workspace, Stream stream, const Gemm& gemm) {
  Workspace memory(workspace);
  Forward call(args, memory);
  DeformTiles& tiles = call.tiles;
  const DeformAlignShape& shape = args.shape;
  tiles.load_weights(stream);
  tiles.for_image_steps([&](int64_t image, int64_t images) {
    tiles.load_images(image, images, stream);
    tiles.for_tiles(image, images, [&](PixelRange range) {
      void* const rows =
          shape.channels_last ? pixel_of(args.out, range.begin, shape.out_channels, shape.dtype) : call.rows;
      deform_columns(tiles.tile(range, rows), stream);
      const Matrix columns = tiles.columns(range), weights = tiles.weights().transposed();
      const Matrix out = tiles.out_rows(rows, range);
      args.bias != nullptr ? gemm.add(columns, weights, out) : gemm.write(columns, weights, out);
      if (!shape.channels_last) {
        rows_to_planes({shape.out_channels, shape.geometry.out_pixels(), range}, rows, shape.dtype, args.out,
                       shape.dtype, stream);
      }
    });
  });
}

int64_t deform_align_backward_workspace(const DeformAlignBackwardArgs& args) {
  Workspace memory;
  Backward call(args, memory);
  return memory.bytes();
}

void deform_align_backward(const DeformAlignBackwardArgs& args, void* workspace, Stream stream, const Gemm& gemm) {
  Workspace memory(workspace);
  Backward call(args, memory);
  DeformTiles& tiles = call.tiles;
  const DeformAlignShape& shape = args.shape;
  tiles.load_weights(stream);
  if (call.input) {
    call.input->start(stream);
  }
  tiles.for_image_steps([&](int64_t image, int64_t images) {
    tiles.load_images(image, images, stream);
    if (call.input) {
      call.input->begin(image, stream);
    }
    tiles.for_tiles(image, images, [&](PixelRange range) {
      void* rows = call.rows;
      if (args.grad_channels_last) {
        rows = pixel_of(args.grad, range.begin, shape.out_channels, shape.dtype);
      } else {
        planes_to_rows({shape.out_channels, shape.geometry.out_pixels(), range}, args.grad, rows, shape.dtype, stream);
      }
      const Matrix grad_rows = tiles.out_rows(rows, range);
      if (call.input || args.wants_samples()) {
        gemm.write(grad_rows, tiles.weights(), tiles.columns(range));  // the columns' gradient
        deform_grads(tiles.tile(range, /*rows=*/nullptr),
                     {.replace = args.grad_weight != nullptr,
                      .samples = call.sample_grads,
                      .source = call.input ? call.input->sums() : nullptr,
                      .fixed = call.input ? call.input->unit() : nullptr},
                     stream);
      } else {
        deform_columns(tiles.tile(range, /*rows=*/nullptr), stream);
      }
      if (args.wants_samples()) {
        deform_map_grads({.geometry = shape.geometry,
                          .range = range,
                          .samples = call.sample_grads,
                          .offset = args.grad_offset,
                          .center = args.grad_center,
                          .mask = args.grad_mask},
                         stream);
      }
      if (args.grad_weight != nullptr) {
        gemm.write(grad_rows.transposed(), tiles.columns(range), tiles.weight_matrix(call.weight.terms()));
        call.weight.add(/*term_count=*/1, /*last=*/false, stream);
      }
    });
    if (call.input) {
      call.input->end(images, stream);
    }
  });
  if (args.grad_weight != nullptr) {
    deform_unpack_weights(tiles.weight_shape(), call.weight.sum(), call.weight.sum_dtype(), args.grad_weight,
                          shape.dtype, stream);
  }
}

}  // namespace refinedet::cuda
