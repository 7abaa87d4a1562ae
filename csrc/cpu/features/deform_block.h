// How deform_align and its backward are cut into pieces that fit the caches, and the matrices of a piece.
//
// An image is read pixel by pixel, so it is wanted channels last: a contiguous one is copied so, some images at a time,
// or some channels of an image where it is large (a `ChannelBlock`). Output pixels are taken by tiles: their columns
// are sampled by all threads, then multiplied with the weights by one product.
#pragma once

#include <algorithm>
#include <vector>

#include "cpu/runtime/level.h"
#include "deform_tile.h"
#include "tiles.h"

namespace refinedet::cpu {

// What the forward pass and the backward pass have in common.
struct DeformCall {
  DeformAlignShape shape;
  const void *input, *weight;
  DeformMap offset, center, mask;
  DType compute;     // of columns and products: bfloat16 where the machine multiplies it, else the accumulate type
  DType accumulate;  // of positions and their gradients

  int64_t taps() const { return shape.geometry.taps(); }
  int64_t in_pixels() const { return shape.geometry.in_pixels(); }
  int64_t out_pixels() const { return shape.geometry.out_pixels(); }
  FeatureMaps inputs() const { return input_like(input); }
  FeatureMaps input_like(const void* data) const {
    return {unconst(data), shape.dtype, shape.channels, in_pixels(), shape.channels_last};
  }
  FeatureMaps output_like(const void* data, bool channels_last) const {
    return {unconst(data), shape.dtype, shape.out_channels, out_pixels(), channels_last};
  }
};

// Of the arguments of either pass.
template <class Args>
DeformCall deform_call(const Args& args) {
  const DType accumulate = accumulate_type(args.shape.dtype);
  const bool half_products = args.shape.dtype == DType::bf16 && multiplies_bfloat16();
  return {args.shape,
          args.input,
          args.weight,
          args.offset,
          args.center,
          args.mask,
          half_products ? DType::bf16 : accumulate,
          accumulate};
}

// Channels that are worked on together: whole groups, or a part of the channels of an only group.
struct ChannelBlock {
  int64_t channel, channels;
  int64_t group, groups;

  int64_t group_channels() const { return channels / groups; }
};

struct DeformPlan {
  DType source;  // of the pixels that samples are read from
  std::vector<ChannelBlock> blocks;
  int64_t images;  // taken together
  int64_t rows;    // output pixels of a tile, at most

  // Calls f(images) for those taken together, and f(tile) for the tiles of such.
  template <class F>
  void for_image_steps(const DeformCall& call, const F& f) const {
    for (int64_t image = 0; image < call.shape.batch; image += images) {
      f(PixelTile{image, std::min(images, call.shape.batch - image), 0, call.in_pixels()});
    }
  }
  template <class F>
  void for_tiles(const DeformCall& call, const PixelTile& step, const F& f) const {
    const int64_t pixels = call.out_pixels(), per_tile = step.images > 1 ? pixels : rows;
    for (int64_t pixel = 0; pixel < pixels; pixel += per_tile) {
      f(PixelTile{step.image, step.images, pixel, std::min(per_tile, pixels - pixel)});
    }
  }
};

// `copied`: bytes per input value that copies take up. `divisible`: an only group may be cut.
DeformPlan deform_plan(const DeformCall& call, DType source, int64_t copied, bool divisible);

// What the forward pass samples from: the columns' dtype, but a half type that is computed in float32 as it is where an
// image in float32 would be too large to be copied.
DType forward_source(const DeformCall& call);

// The same products, but the smallest ones computed on the spot.
Gemm with_tiny_products(const Gemm& gemm);

// Some channels of a tile where they lie, if that is as rows of `dtype` that a product takes: channels last, or, with
// `planes`, a single image's planes.
std::optional<Matrix> rows_in_place(const FeatureMaps& maps, const PixelTile& tile, int64_t channel, int64_t count,
                                    DType dtype, bool planes);

// A block's part of a tensor like the weight, as matrices (tap, channel), one per output channel.
Matrix weight_matrices(const void* weight, const DeformCall& call, const ChannelBlock& block);

// A block's weights, pixels, samples, columns and rows of output.
//
// Columns are sampled in the order (tap, channel). The product takes the weights where they lie if that is their order
// too; if it is (channel, tap) and there are fewer output pixels than output channels, the columns are brought into the
// weights' order, else the weights into theirs.
class DeformBlock {
 public:
  // With `bias` a last column of ones meets a last weight, so that the product is rounded once with the bias in it;
  // unless in_place().
  DeformBlock(const DeformCall& call, const DeformPlan& plan, const ChannelBlock& block, const void* bias,
              const ParallelFor& parallel);

  void load_images(const PixelTile& images);
  void locate(const PixelTile& tile);  // makes the samples of the tile that follows
  DeformTile tile() const;

  Matrix weights() const;  // per group (output channels, taps * channels)
  // Of the tile: per group (rows, taps * channels), in the order of weights().
  Matrix columns() const;
  void to_product() const { reorder(/*back=*/false); }   // brings the sampled columns there
  void from_product() const { reorder(/*back=*/true); }  // and a product's result back to the tile's
  // Whether columns() and weights() are in the order of the weight's tensor, all of its channels.
  bool in_place() const { return order_ != Order::copied; }

  int64_t outputs() const { return block_.groups * call_.shape.group_outputs(); }  // of the block
  int64_t first_output() const { return block_.group * call_.shape.group_outputs(); }
  // Memory for the tile's rows of the block's output channels.
  Matrix scratch_rows() const { return packed_rows(rows_.data(), call_.compute, tile_, outputs()); }
  // Rows of the block's output channels, per group (rows, output channels).
  Matrix by_group(const Matrix& rows) const;

 private:
  enum class Order { copied, taps, channels };  // of weights: a copy, or in place, and which index is the outer one

  Order choose_order(bool bias) const;
  void copy_weights(const void* bias) const;
  void reorder(bool back) const;
  int64_t size() const { return element_size(call_.compute); }

  const DeformCall& call_;
  const ParallelFor& parallel_;
  ChannelBlock block_;
  DType source_dtype_;
  Order order_;
  int64_t tile_rows_;
  int64_t depth_;  // columns of a row that are multiplied
  int64_t line_;   // from row to row of the columns
  std::vector<ChannelRun> runs_;
  Scratch weights_, columns_, reordered_, samples_, zeros_, copy_, rows_;
  Matrix source_{};
  PixelTile images_{}, tile_{};
};

}  // namespace refinedet::cpu
