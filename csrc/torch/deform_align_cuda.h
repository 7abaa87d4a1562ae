// deform_align and its backward on a GPU.
//
// As on the CPU the images are wanted channels last, a contiguous input is copied so, and the output pixels are taken
// by tiles, whose columns are sampled by a kernel and multiplied with the weights by torch's own product. What differs:
// tiles go on from one image to the next, as products are fast when they have thousands of rows; columns have the
// input's type; groups lie side by side in a row.
#pragma once

#include "cuda/features/deform_align.h"
#include "cuda/features/deform_weights.h"
#include "cuda/features/pixel_planes.h"
#include "deform_align.h"

namespace refinedet::torch_ops {

Tensor deform_align_on_gpu(const DeformCall& call, const std::optional<Tensor>& bias);

// `wanted`: of input, weight, offset, center, mask. `grad`: contiguous or channels last.
DeformGradients gradients_on_gpu(const DeformCall& call, const Tensor& grad, bool grad_channels_last,
                                 const std::vector<bool>& wanted, bool deterministic);

// Images taken together, and their output pixels by tiles.
struct GpuPlan {
  int64_t images;
  int64_t rows;  // of a tile, at most
  int64_t line;  // columns of a group's row: taps, channels, perhaps the bias's one, and zeros

  int64_t steps(const DeformCall& call) const { return (call.batch + images - 1) / images; }
};

// `image_bytes`: what the copies of one image take up.
GpuPlan gpu_plan(const DeformCall& call, int64_t image_bytes, bool ones);

// A call's weights, pixels and columns.
class DeformOnGpu {
 public:
  // `reads`: whether the input's pixels are wanted.
  DeformOnGpu(const DeformCall& call, const GpuPlan& plan, const std::optional<Tensor>& bias, bool reads,
              cuda::Stream stream);

  // Calls f(first image, number of images) for the images taken together, and f(PixelRange) for the tiles of such.
  template <class F>
  void for_steps(const F& f) const {
    for (int64_t image = 0; image < call_.batch; image += plan_.images) {
      f(image, std::min(plan_.images, call_.batch - image));
    }
  }
  template <class F>
  void for_tiles(int64_t image, int64_t images, const F& f) const {
    const int64_t pixels = call_.out_pixels(), end = (image + images) * pixels;
    for (int64_t pixel = image * pixels; pixel < end; pixel += plan_.rows) {
      f(PixelRange{pixel, std::min(plan_.rows, end - pixel)});
    }
  }

  void load_images(int64_t image, int64_t images);
  cuda::DeformTile tile(PixelRange range) const;

  Matrices columns(PixelRange range) const;  // per group (rows, line)
  Matrices weights() const;                  // per group (output channels, line)
  // Dense rows of all output channels, per group (rows, output channels).
  Matrices out_rows(void* data, PixelRange range) const;
  cuda::DeformWeights weight_shape() const;

 private:
  const DeformCall& call_;
  GpuPlan plan_;
  bool ones_;
  cuda::Stream stream_;
  Tensor weights_, columns_;
  std::optional<Tensor> copy_;
  const void* source_ = nullptr;
  int64_t first_image_ = 0;
};

// Without telling torch of a write: tensors that are written are new ones.
char* data_of(const Tensor& t);

// Where pixel `number` of a dense channels-last tensor begins.
char* pixel_of(const Tensor& t, int64_t number);

}  // namespace refinedet::torch_ops
