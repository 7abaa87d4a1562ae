#include "deform_align_cuda.h"

#if defined(REFINEDET_WITH_CUDA)

#include <algorithm>

namespace refinedet::torch_ops {
namespace {

// The weights' gradient, summed over tiles in float32.
class WeightGradOnGpu {
 public:
  WeightGradOnGpu(const DeformCall& call, const cuda::DeformWeights& shape, bool several, cuda::Stream stream)
      : call_(call),
        shape_(shape),
        stream_(stream),
        dtype_(dtype_of(call.weight, "weight")),
        part_(new_tensor({shape.outputs * shape.line}, call.compute, call.device)) {
    if (several) {
      sum_ = new_tensor({shape.outputs * shape.line}, ScalarType::Float, call.device);
    }
  }

  // grad: per group (rows, output channels); columns: (rows, line).
  void add_tile(const Matrices& grad, const Matrices& columns) {
    const int64_t outputs = shape_.outputs / call_.groups;
    const Matrices part{part_.mutable_data_ptr(), call_.groups, outputs, shape_.line,
                        outputs * shape_.line,    shape_.line,  1};
    multiply(grad.transposed(), columns, part, call_.compute, call_.device);
    if (sum_) {
      cuda::deform_add_weights(part.data, dtype_, shape_.outputs * shape_.line, first_, data<float>(*sum_), stream_);
      first_ = false;
    }
  }
  void write(const Tensor& grad_weight) const {
    const Tensor& from = sum_ ? *sum_ : part_;
    cuda::deform_unpack_weights(shape_, from.const_data_ptr(), sum_ ? DType::f32 : dtype_,
                                grad_weight.mutable_data_ptr(), dtype_, stream_);
  }

 private:
  const DeformCall& call_;
  cuda::DeformWeights shape_;
  cuda::Stream stream_;
  DType dtype_;
  Tensor part_;
  std::optional<Tensor> sum_;
  bool first_ = true;
};

// The input's gradient, summed channels last: in float32 where it belongs if that is so, else beside it, in float32 or
// in integers whose sums have no order.
class InputGradOnGpu {
 public:
  InputGradOnGpu(const DeformCall& call, const GpuPlan& plan, const Tensor& grad_input, bool fixed, cuda::Stream stream)
      : call_(call),
        grad_input_(grad_input),
        size_(call.channels * call.geometry.in_pixels()),
        dtype_(dtype_of(call.input, "input")),
        stream_(stream) {
    if (fixed) {
      unit_ = new_tensor({kUnitBytes}, ScalarType::Byte, call.device);
    }
    if (is_direct(call, fixed)) {
      torch::stable::zero_(grad_input_);
    } else {
      sums_ = new_tensor({plan.images * size_}, fixed ? ScalarType::Long : ScalarType::Float, call.device);
      if (fixed && !call.channels_last) {
        rounded_ = new_tensor({plan.images * size_}, call.compute, call.device);
      }
    }
  }

  // Bytes beside the result, per image.
  static int64_t image_bytes(const DeformCall& call, bool fixed) {
    const int64_t size = call.channels * call.geometry.in_pixels();
    return is_direct(call, fixed) ? 0
           : !fixed               ? 4 * size
                                  : (8 + (call.channels_last ? 0 : element_size(call.compute))) * size;
  }

  // From the incoming gradient, whose elements may lie in any order.
  void find_unit(const Tensor& grad) {
    if (unit_) {
      const DeformGeometry& g = call_.geometry;
      const DeformMap mask = call_.mask ? DeformMap{call_.mask->const_data_ptr(), dtype_of(*call_.mask, "mask")}
                                        : DeformMap{nullptr, DType::f32};
      cuda::deform_fixed_point(
          {dtype_, grad.const_data_ptr(), call_.weight.const_data_ptr(), grad.numel(), call_.weight.numel(),
           call_.out_channels / call_.groups, mask, call_.mask ? call_.mask->numel() : 0, g.taps() * g.out_pixels(),
           data<uint32_t>(*unit_), unit()},
          stream_);
    }
  }
  void begin(int64_t image) {
    image_ = image;
    if (sums_) {
      torch::stable::zero_(*sums_);
    }
  }
  void* sums() const { return sums_ ? sums_->mutable_data_ptr() : image_data(); }
  cuda::FixedPoint* unit() const {
    return unit_ ? reinterpret_cast<cuda::FixedPoint*>(data<char>(*unit_) + kUnitAt) : nullptr;
  }
  void end(int64_t images) const {
    if (!sums_) {
      return;
    }
    const int64_t pixels = call_.geometry.in_pixels();
    const cuda::PixelPlanes planes{call_.channels, pixels, {0, images * pixels}};
    if (call_.channels_last) {
      cuda::deform_round_sums(sums(), unit(), image_data(), dtype_, images * size_, stream_);
    } else if (rounded_) {
      cuda::deform_round_sums(sums(), unit(), rounded_->mutable_data_ptr(), dtype_, images * size_, stream_);
      cuda::rows_to_planes(planes, rounded_->const_data_ptr(), dtype_, image_data(), dtype_, stream_);
    } else {
      cuda::rows_to_planes(planes, sums(), DType::f32, image_data(), dtype_, stream_);
    }
  }

 private:
  static constexpr int64_t kUnitAt = 64, kUnitBytes = 128;  // behind the maxima that it is found from

  static bool is_direct(const DeformCall& call, bool fixed) {
    return call.channels_last && call.compute == ScalarType::Float && !fixed;
  }
  void* image_data() const { return pixel_of(grad_input_, image_ * call_.geometry.in_pixels()); }

  const DeformCall& call_;
  Tensor grad_input_;
  int64_t size_, image_ = 0;
  DType dtype_;
  cuda::Stream stream_;
  std::optional<Tensor> sums_, rounded_, unit_;
};

Tensor new_map_grad(const std::optional<Tensor>& map, bool wanted, Device device) {
  return wanted ? new_tensor(sizes_of(*map), map->scalar_type(), device) : new_tensor({0}, ScalarType::Float, device);
}

cuda::DeformMapOut out_of(const Tensor& grad, bool wanted) {
  return {wanted ? grad.mutable_data_ptr() : nullptr, wanted ? dtype_of(grad, "map") : DType::f32};
}

}  // namespace

DeformGradients gradients_on_gpu(const DeformCall& call, const Tensor& grad, bool grad_channels_last,
                                 const std::vector<bool>& wanted, bool deterministic) {
  const Device device = call.device;
  const ScalarType dtype = call.input.scalar_type();
  const std::vector<int64_t> none{0};
  const bool want_input = wanted[0], want_weight = wanted[1], want_samples = wanted[2] || wanted[3] || wanted[4];
  DeformGradients grads{want_input ? new_like_image(sizes_of(call.input), dtype, call.channels_last, device)
                                   : new_tensor(none, dtype, device),
                        want_weight ? new_like_image(sizes_of(call.weight), dtype, call.weight_channels_last, device)
                                    : new_tensor(none, dtype, device),
                        new_map_grad(call.offset, wanted[2], device), new_map_grad(call.center, wanted[3], device),
                        new_map_grad(call.mask, wanted[4], device)};
  if (grad.numel() == 0) {
    for (Tensor* t : {&grads.input, &grads.weight, &grads.offset, &grads.center, &grads.mask}) {
      torch::stable::zero_(*t);
    }
    return grads;
  }
  if (!want_input && !want_weight && !want_samples) {
    return grads;
  }
  const CudaScope scope(device);
  const cuda::Stream stream = scope.stream();
  const bool reads = want_weight || want_samples;  // the input's pixels
  const int64_t copied =
      reads && !call.channels_last ? call.channels * call.geometry.in_pixels() * element_size(dtype) : 0;
  const int64_t summed = want_input ? InputGradOnGpu::image_bytes(call, deterministic) : 0;
  const GpuPlan plan = gpu_plan(call, copied + summed, /*ones=*/false);
  DeformOnGpu work(call, plan, std::nullopt, reads, stream);
  std::optional<WeightGradOnGpu> weight;
  if (want_weight) {
    const bool several = plan.steps(call) > 1 || plan.rows < call.batch * call.out_pixels();
    weight.emplace(call, work.weight_shape(), several, stream);
  }
  std::optional<InputGradOnGpu> input;
  if (want_input) {
    input.emplace(call, plan, grads.input, deterministic, stream);
    input->find_unit(grad);
  }
  Tensor scratch = new_tensor({grad_channels_last ? 0 : plan.rows * call.out_channels}, dtype, device);
  const int64_t samples = plan.rows * call.taps() * call.geometry.offset_groups;
  Tensor sample_grads = new_tensor({want_samples ? 3 * samples : 0}, ScalarType::Float, device);

  work.for_steps([&](int64_t image, int64_t images) {
    work.load_images(image, images);
    if (input) {
      input->begin(image);
    }
    work.for_tiles(image, images, [&](PixelRange range) {
      void* rows = grad_channels_last ? pixel_of(grad, range.begin) : scratch.mutable_data_ptr();
      if (!grad_channels_last) {
        cuda::planes_to_rows({call.out_channels, call.out_pixels(), range}, grad.const_data_ptr(), rows,
                             dtype_of(grad, "grad"), stream);
      }
      const Matrices grad_rows = work.out_rows(rows, range);
      if (input || want_samples) {
        multiply(grad_rows, work.weights(), work.columns(range), dtype, device);  // the columns' gradient
        cuda::deform_grads(work.tile(range),
                           {weight.has_value(), want_samples ? data<float>(sample_grads) : nullptr,
                            input ? input->sums() : nullptr, input ? input->unit() : nullptr},
                           stream);
      } else {
        cuda::deform_columns(work.tile(range), stream);
      }
      if (want_samples) {
        cuda::deform_map_grads({call.geometry, range, const_data<float>(sample_grads), out_of(grads.offset, wanted[2]),
                                out_of(grads.center, wanted[3]), out_of(grads.mask, wanted[4])},
                               stream);
      }
      if (weight) {
        weight->add_tile(grad_rows, work.columns(range));
      }
    });
    if (input) {
      input->end(images);
    }
  });
  if (weight) {
    weight->write(grads.weight);
  }
  return grads;
}

}  // namespace refinedet::torch_ops

#endif
