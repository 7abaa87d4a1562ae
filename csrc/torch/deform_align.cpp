#include "ops/deform_align.h"

#include <algorithm>

#include "common.h"

namespace refinedet::torch_ops {
namespace {

// A call's checked tensors, ordered as the kernels want them.
struct DeformCall {
  Device device = Device::cpu();
  DeformAlignShape shape;
  Tensor input, weight;                        // contiguous or channels last
  std::optional<Tensor> offset, center, mask;  // contiguous
};

// Throws unless `map`, where there is one, is (B, channels, Ho, Wo).
std::optional<Tensor> checked_map(const std::optional<Tensor>& map, const DeformCall& call, int64_t channels,
                                  const char* name) {
  if (!map) {
    return std::nullopt;
  }
  check_device(*map, call.device, name);
  dtype_of(*map, name);
  const DeformGeometry& g = call.shape.geometry;
  check_shape(*map, name, {call.shape.batch, channels, g.out_height, g.out_width});
  return as_contiguous(*map);
}

int64_t offset_groups_of(const std::optional<Tensor>& offset, const std::optional<Tensor>& center,
                         const std::optional<Tensor>& mask, int64_t taps) {
  const auto groups = [](const Tensor& t, int64_t per_group, const char* name) {
    REFINEDET_CHECK(t.dim() == 4 && t.size(1) > 0 && t.size(1) % per_group == 0, name,
                    ": expected 4 dimensions with a multiple of ", per_group, " channels, got ", shape_of(t));
    return t.size(1) / per_group;
  };
  return offset   ? groups(*offset, 2 * taps, "offset")
         : center ? groups(*center, 2, "center")
         : mask   ? groups(*mask, taps, "mask")
                  : 1;
}

DeformCall deform_call(const Tensor& input, const Tensor& weight, const std::optional<Tensor>& offset,
                       const std::optional<Tensor>& center, const std::optional<Tensor>& mask,
                       const std::vector<int64_t>& stride, const std::vector<int64_t>& padding,
                       const std::vector<int64_t>& dilation) {
  DeformCall call;
  call.device = device_of(input, "input");
  check_device(weight, call.device, "weight");
  check_no_double_on_gpu(input, call.device, "input");
  check_shape(input, "input", {"B", "C", "H", "W"});
  REFINEDET_CHECK(weight.dim() == 4 && weight.size(1) > 0 && weight.size(2) > 0 && weight.size(3) > 0,
                  "weight: expected shape (Co, C / groups, kh, kw), got ", shape_of(weight));
  check_dtype(weight, input.scalar_type(), "weight");
  check_pair(stride, 1, "stride");
  check_pair(padding, 0, "padding");
  check_pair(dilation, 1, "dilation");

  DeformAlignShape& shape = call.shape;
  shape.dtype = dtype_of(input, "input");
  shape.batch = input.size(0);
  shape.channels = input.size(1);
  shape.out_channels = weight.size(0);
  REFINEDET_CHECK(shape.channels < (int64_t{1} << 30), "input: expected fewer than 2^30 channels, got ",
                  shape_of(input));
  REFINEDET_CHECK(shape.channels > 0 && shape.channels % weight.size(1) == 0, "input: expected a multiple of ",
                  weight.size(1), " channels, as weight ", shape_of(weight), " has, got ", shape_of(input));
  shape.groups = shape.channels / weight.size(1);
  REFINEDET_CHECK(shape.out_channels % shape.groups == 0, "weight: expected a multiple of ", shape.groups,
                  " output channels (input has ", shape.groups, " groups of ", weight.size(1), "), got ",
                  shape_of(weight));

  DeformGeometry& g = shape.geometry;
  g.height = input.size(2), g.width = input.size(3);
  g.kernel_h = weight.size(2), g.kernel_w = weight.size(3);
  g.stride_y = stride[0], g.stride_x = stride[1];
  g.pad_y = padding[0], g.pad_x = padding[1];
  g.dilation_y = dilation[0], g.dilation_x = dilation[1];
  g.find_out_size();
  REFINEDET_CHECK(g.out_height >= 0 && g.out_width >= 0, "input: expected a map that the kernel fits into, got ",
                  shape_of(input), " for weight ", shape_of(weight));
  REFINEDET_CHECK(std::max(g.in_pixels(), g.out_pixels()) < (int64_t{1} << 31),
                  "input: expected fewer than 2^31 pixels in an image and in its result, got ", shape_of(input));
  g.offset_groups = offset_groups_of(offset, center, mask, g.taps());
  REFINEDET_CHECK(shape.channels % g.offset_groups == 0,
                  offset   ? "offset"
                  : center ? "center"
                           : "mask",
                  ": expected offset groups that divide the ", shape.channels, " channels of input, got ",
                  g.offset_groups);
  call.offset = checked_map(offset, call, 2 * g.offset_groups * g.taps(), "offset");
  call.center = checked_map(center, call, 2 * g.offset_groups, "center");
  call.mask = checked_map(mask, call, g.offset_groups * g.taps(), "mask");

  shape.channels_last = is_channels_last(input);
  call.input = shape.channels_last ? input : as_contiguous(input);
  shape.weight_channels_last = is_channels_last(weight);
  call.weight = shape.weight_channels_last ? weight : as_contiguous(weight);
  return call;
}

DeformMap map_of(const std::optional<Tensor>& t) {
  return t ? DeformMap{t->const_data_ptr(), dtype_of(*t, "map")} : DeformMap{nullptr, DType::f32};
}

Tensor deform_align(const Tensor& input, const Tensor& weight, std::optional<Tensor> offset,
                    std::optional<Tensor> center, std::optional<Tensor> mask, std::optional<Tensor> bias,
                    std::vector<int64_t> stride, std::vector<int64_t> padding, std::vector<int64_t> dilation) {
  const DeformCall call = deform_call(input, weight, offset, center, mask, stride, padding, dilation);
  if (bias) {
    check_tensor(*bias, "bias", call.device, input.scalar_type(), {call.shape.out_channels});
    bias = as_contiguous(*bias);
  }
  const DeformAlignShape& shape = call.shape;
  Tensor out = new_map({shape.batch, shape.out_channels, shape.geometry.out_height, shape.geometry.out_width},
                       input.scalar_type(), shape.channels_last, call.device);
  if (out.numel() == 0) {
    return out;
  }
  const DeformAlignArgs args{.shape = call.shape,
                             .input = call.input.const_data_ptr(),
                             .weight = call.weight.const_data_ptr(),
                             .bias = bias ? bias->const_data_ptr() : nullptr,
                             .offset = map_of(call.offset),
                             .center = map_of(call.center),
                             .mask = map_of(call.mask),
                             .out = out.mutable_data_ptr()};
  run<cpu::deform_align, cuda::deform_align, cuda::deform_align_workspace>(call.device, args);
  return out;
}

// Gradients of input, weight, offset, center, mask and bias; those that output_mask does not want have no elements.
std::tuple<Tensor, Tensor, Tensor, Tensor, Tensor, Tensor> deform_align_backward(
    const Tensor& grad_in, const Tensor& input, const Tensor& weight, std::optional<Tensor> offset,
    std::optional<Tensor> center, std::optional<Tensor> mask, std::vector<int64_t> stride, std::vector<int64_t> padding,
    std::vector<int64_t> dilation, std::vector<bool> output_mask, bool deterministic) {
  const DeformCall call = deform_call(input, weight, offset, center, mask, stride, padding, dilation);
  const ScalarType dtype = input.scalar_type();
  check_tensor(
      grad_in, "grad", call.device, dtype,
      {call.shape.batch, call.shape.out_channels, call.shape.geometry.out_height, call.shape.geometry.out_width});
  REFINEDET_CHECK(output_mask.size() == 6, "output_mask: expected 6 values, got ", output_mask.size());
  REFINEDET_CHECK((offset || !output_mask[2]) && (center || !output_mask[3]) && (mask || !output_mask[4]),
                  "output_mask: a gradient is wanted of an argument that was not given");

  const bool grad_channels_last = is_channels_last(grad_in);
  const Tensor grad = grad_channels_last ? grad_in : as_contiguous(grad_in);
  const auto image = [&](const Tensor& like, bool channels_last, bool wanted) {
    return wanted ? new_map(like.sizes(), dtype, channels_last, call.device) : new_tensor({0}, dtype, call.device);
  };
  const auto map = [&](const std::optional<Tensor>& like, bool wanted) {
    return wanted ? new_tensor(like->sizes(), like->scalar_type(), call.device)
                  : new_tensor({0}, ScalarType::Float, call.device);
  };
  const std::array<Tensor, 5> grads{image(call.input, call.shape.channels_last, output_mask[0]),
                                    image(call.weight, call.shape.weight_channels_last, output_mask[1]),
                                    map(call.offset, output_mask[2]), map(call.center, output_mask[3]),
                                    map(call.mask, output_mask[4])};
  const auto grad_data = [&](size_t i) { return output_mask[i] ? grads[i].mutable_data_ptr() : nullptr; };
  const auto map_out = [&](size_t i) { return DeformMapOut{grad_data(i), dtype_of(grads[i], "map")}; };
  if (grad.numel() == 0) {
    for (const Tensor& t : grads) {
      Tensor result = t;
      torch::stable::zero_(result);
    }
  } else if (std::any_of(output_mask.begin(), output_mask.begin() + 5, [](bool wanted) { return wanted; })) {
    const DeformAlignBackwardArgs args{.shape = call.shape,
                                       .grad = grad.const_data_ptr(),
                                       .grad_channels_last = grad_channels_last,
                                       .input = call.input.const_data_ptr(),
                                       .weight = call.weight.const_data_ptr(),
                                       .offset = map_of(call.offset),
                                       .center = map_of(call.center),
                                       .mask = map_of(call.mask),
                                       .deterministic = deterministic,
                                       .grad_input = grad_data(0),
                                       .grad_weight = grad_data(1),
                                       .grad_offset = map_out(2),
                                       .grad_center = map_out(3),
                                       .grad_mask = map_out(4)};
    run<cpu::deform_align_backward, cuda::deform_align_backward, cuda::deform_align_backward_workspace>(call.device,
                                                                                                        args);
  }
  const std::array<int64_t, 3> all_but_channels{0, 2, 3};
  const Tensor grad_bias =
      output_mask[5] ? torch::stable::sum(grad, all_but_channels) : new_tensor({0}, dtype, call.device);
  return {grads[0], grads[1], grads[2], grads[3], grads[4], grad_bias};
}

}  // namespace

STABLE_TORCH_LIBRARY_FRAGMENT(REFINEDET_LIBRARY, m) {
  m.def(
      "deform_align(Tensor input, Tensor weight, Tensor? offset, Tensor? center, Tensor? mask, Tensor? bias, "
      "int[] stride=[1, 1], int[] padding=[0, 0], int[] dilation=[1, 1]) -> Tensor");
  m.def(
      "_deform_align_backward(Tensor grad, Tensor input, Tensor weight, Tensor? offset, Tensor? center, Tensor? mask, "
      "int[] stride, int[] padding, int[] dilation, bool[] output_mask, "
      "bool deterministic=False) -> (Tensor, Tensor, Tensor, Tensor, Tensor, Tensor)");
}

REFINEDET_KERNELS(m) {
  m.impl("deform_align", TORCH_BOX(&deform_align));
  m.impl("_deform_align_backward", TORCH_BOX(&deform_align_backward));
}

}  // namespace refinedet::torch_ops
