// What deform_align and its backward share: the checked call, how it is cut into pieces that fit the caches, and the
// matrices of a piece.
//
// An image is read pixel by pixel, so it is wanted channels last: a contiguous one is copied so, some images at a time,
// or some channels of an image where it is large (a `ChannelBlock`). Output pixels are taken by tiles: their columns
// are sampled by all threads, then multiplied with the weights by one product of torch's.
#pragma once

#include "cpu/features/copy_matrices.h"
#include "ops/deform_align.h"
#include "scratch_memory.h"

namespace refinedet::torch_ops {

// Stride, padding and dilation, each (vertical, horizontal).
struct DeformSteps {
  std::array<int64_t, 2> stride, padding, dilation;
};

// Of an op's lists of integers; throws unless they have two each.
DeformSteps deform_steps(const std::vector<int64_t>& stride, const std::vector<int64_t>& padding,
                         const std::vector<int64_t>& dilation);

struct DeformCall {
  Tensor input;                                // contiguous or channels last
  Tensor weight;                               // contiguous or channels last
  std::optional<Tensor> offset, center, mask;  // contiguous
  Device device = Device::cpu();
  DeformGeometry geometry;
  int64_t batch, channels, out_channels, groups;
  bool channels_last;  // the input, and so the output
  bool weight_channels_last;
  ScalarType dtype;  // of input and weight
  // Of columns and products: the input's on a GPU; on the CPU bfloat16 where the machine multiplies it, else float32
  // for the half types.
  ScalarType compute;
  ScalarType sampling;  // of positions and their gradients: float64 for a float64 input, else float32

  int64_t taps() const { return geometry.taps(); }
  int64_t out_pixels() const { return geometry.out_pixels(); }
  std::vector<int64_t> out_sizes() const { return {batch, out_channels, geometry.out_height, geometry.out_width}; }
};

DeformCall deform_call(const Tensor& input, const Tensor& weight, const std::optional<Tensor>& offset,
                       const std::optional<Tensor>& center, const std::optional<Tensor>& mask,
                       const DeformSteps& steps);

// Those that are not wanted have no elements.
struct DeformGradients {
  Tensor input, weight, offset, center, mask;
};

// Channels that are worked on together: whole groups, or a part of the channels of an only group.
struct ChannelBlock {
  int64_t channel, channels;
  int64_t group, groups;

  int64_t group_channels() const { return channels / groups; }
};

struct DeformPlan {
  ScalarType source;  // of the pixels that samples are read from
  std::vector<ChannelBlock> blocks;
  int64_t images;  // taken together
  int64_t rows;    // output pixels of a tile, at most
};

// `copied`: bytes per input value that copies take up. `divisible`: an only group may be cut.
DeformPlan deform_plan(const DeformCall& call, ScalarType source, int64_t copied, bool divisible);

// What the forward pass samples from: the columns' dtype, but a half type that is computed in float32 as it is where an
// image in float32 would be too large to be copied.
ScalarType forward_source(const DeformCall& call);

// Output pixels: some of one image, or all of several images.
struct TileRange {
  int64_t image, images, pixel, pixels;

  int64_t rows() const { return images * pixels; }
};

// Calls f(first image, number of images) for the images taken together, and f(TileRange) for the tiles of such.
template <class F>
void for_image_steps(const DeformCall& call, const DeformPlan& plan, const F& f) {
  for (int64_t image = 0; image < call.batch; image += plan.images) {
    f(image, std::min(plan.images, call.batch - image));
  }
}

template <class F>
void for_tiles(const DeformCall& call, const DeformPlan& plan, int64_t image, int64_t images, const F& f) {
  const int64_t pixels = call.out_pixels();
  const int64_t per_tile = images > 1 ? pixels : plan.rows;
  for (int64_t pixel = 0; pixel < pixels; pixel += per_tile) {
    f(TileRange{image, images, pixel, std::min(per_tile, pixels - pixel)});
  }
}

// `count` matrices of one element type, by their strides.
struct Matrices {
  void* data;
  int64_t count, rows, columns;
  int64_t matrix_stride, row_stride, column_stride;

  Matrices transposed() const { return {data, count, columns, rows, matrix_stride, column_stride, row_stride}; }
};

// out = a b, by torch's own product; on the CPU also out += a b.
void multiply(const Matrices& a, const Matrices& b, const Matrices& out, ScalarType dtype,
              Device device = Device::cpu(), bool add = false);

// Pixels of `images` as rows of channels.
struct PixelRows {
  void* data;
  int64_t image_stride, row_stride, channel_stride;
};

// Rows of `channels` side by side.
PixelRows packed_rows(void* data, const TileRange& range, int64_t channels);

// Some channels of some pixels of a (B, C, H, W) tensor where they lie, if that is as rows of `dtype`: channels last,
// or, as a matrix product takes rows of any strides, a single image's planes.
std::optional<PixelRows> rows_in_place(const Tensor& tensor, bool channels_last, const TileRange& range,
                                       int64_t channel, ScalarType dtype, bool planes);

// The same copied to `rows`, which are packed.
void read_rows(const Tensor& tensor, bool channels_last, const TileRange& range, int64_t channel, int64_t channels,
               ScalarType dtype, const PixelRows& rows);

// And back: tensor = rows, or += rows.
void write_rows(const PixelRows& rows, ScalarType dtype, const Tensor& tensor, bool channels_last,
                const TileRange& range, int64_t channel, int64_t channels, bool add, bool overflow);

// A block's part of a tensor like the weight, as matrices (tap, channel), one per output channel. The data is not
// written unless the caller owns the tensor.
cpu::MatrixLayout<void> weight_layout(const Tensor& weight, const DeformCall& call, const ChannelBlock& block);

// A block's weights, pixels, samples, columns and rows of output.
//
// Columns are sampled in the order (tap, channel). The product takes the weights where they lie if that is their order
// too; if it is (channel, tap) and there are fewer output pixels than output channels, the columns are brought into the
// weights' order, else the weights into theirs.
class DeformBlock {
 public:
  // With `bias` a last column of ones meets a last weight, so that the product is rounded once with the bias in it.
  DeformBlock(const DeformCall& call, const DeformPlan& plan, const ChannelBlock& block,
              const std::optional<Tensor>& bias);

  void load_images(int64_t image, int64_t images);
  void locate(const TileRange& range);  // makes the samples of the tile that follows
  DeformTile tile() const;

  Matrices weights() const;  // per group (output channels, taps * channels)
  // Of the tile: per group (rows, taps * channels), in the order of weights().
  Matrices columns() const;
  void to_product() const { reorder(false); }   // brings the sampled columns there
  void from_product() const { reorder(true); }  // and a product's result back to the tile's
  // Whether columns() and weights() are in the order of the weight's tensor, all of its channels.
  bool in_place() const { return order_ != Order::copied; }

  int64_t outputs() const { return block_.groups * group_outputs(); }  // of the block
  int64_t first_output() const { return block_.group * group_outputs(); }
  // Memory for the tile's rows of the block's output channels.
  PixelRows scratch_rows() const { return packed_rows(rows_, range_, outputs()); }
  // Rows of the block's output channels, per group (rows, output channels).
  Matrices out_rows(const PixelRows& rows) const;

 private:
  enum class Order { copied, taps, channels };  // of weights: a copy, or in place, and which index is the outer one

  int64_t group_outputs() const { return call_.out_channels / call_.groups; }
  void copy_weights(const std::optional<Tensor>& bias) const;
  void reorder(bool back) const;

  const DeformCall& call_;
  ChannelBlock block_;
  ScalarType source_dtype_;
  Order order_;
  int64_t depth_;        // columns of a row that are multiplied
  int64_t line_;         // from row to row of the columns
  int64_t weight_line_;  // and of the weights
  int64_t tile_rows_;
  std::vector<ChannelRun> runs_;
  std::optional<ScratchMemory> memory_;
  char *weights_, *columns_, *multiplied_, *samples_, *zeros_, *copy_, *rows_;  // in memory_, or the weight's own
  PixelRows source_{};
  TileRange images_{}, range_{};
};

int64_t element_size(ScalarType dtype);
DType kernel_dtype(ScalarType dtype);
int64_t round_up(int64_t n, int64_t unit);
Tensor new_like_image(const std::vector<int64_t>& sizes, ScalarType dtype, bool channels_last,
                      Device device = Device::cpu());

}  // namespace refinedet::torch_ops
