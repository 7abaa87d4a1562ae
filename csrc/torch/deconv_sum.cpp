#include "ops/deconv_sum.h"

#include "common.h"

namespace refinedet::torch_ops {
namespace {

// `maps` are the lateral map, or something of its shape: (B, Co, h, w).
void check_maps(const Tensor& input, const Tensor& weight, const Tensor& maps, const char* name) {
  check_device(maps, device_of(input, "input"), name);
  check_dtype(maps, input.scalar_type(), name);
  const auto doubles = [](int64_t fine, int64_t coarse) { return fine == 2 * coarse || fine == 2 * coarse - 1; };
  REFINEDET_CHECK(maps.dim() == 4 && maps.size(0) == input.size(0) && maps.size(1) == weight.size(1) &&
                      maps.size(2) >= 0 && doubles(maps.size(2), input.size(2)) && doubles(maps.size(3), input.size(3)),
                  name, ": expected shape (", input.size(0), ", ", weight.size(1), ", ", 2 * input.size(2),
                  " or one less, ", 2 * input.size(3), " or one less), got ", shape_of(maps));
}

void check_operands(const Tensor& input, const Tensor& weight) {
  dtype_of(input, "input");
  check_shape(input, "input", {"B", "Ci", "H", "W"});
  check_tensor(weight, "weight", device_of(input, "input"), input.scalar_type(), {input.size(1), "Co", 2, 2});
}

// The same values in that order; `t` itself where it has it.
Tensor ordered(const Tensor& t, bool channels_last) {
  if (!channels_last) {
    return as_contiguous(t);
  }
  return is_channels_last(t) ? t : torch::stable::contiguous(t, torch::headeronly::MemoryFormat::ChannelsLast);
}

DeconvSumShape shape_of_call(const Tensor& input, const Tensor& weight, const Tensor& maps, bool channels_last) {
  return {.dtype = dtype_of(input, "input"),
          .channels_last = channels_last,
          .taps_inner = !channels_last || !is_channels_last(weight),
          .batch = input.size(0),
          .in_channels = input.size(1),
          .channels = weight.size(1),
          .in_height = input.size(2),
          .in_width = input.size(3),
          .out_height = maps.size(2),
          .out_width = maps.size(3)};
}

Tensor deconv_sum(const Tensor& input_in, const Tensor& weight_in, const std::optional<Tensor>& bias_in,
                  const Tensor& lateral_in, bool relu) {
  check_operands(input_in, weight_in);
  check_maps(input_in, weight_in, lateral_in, "lateral");
  const Device device = device_of(input_in, "input");
  std::optional<Tensor> bias;
  if (bias_in.has_value()) {
    check_tensor(*bias_in, "bias", device, input_in.scalar_type(), {weight_in.size(1)});
    bias = as_contiguous(*bias_in);
  }
  const bool channels_last = is_channels_last(input_in) || is_channels_last(lateral_in);
  const DeconvSumShape shape = shape_of_call(input_in, weight_in, lateral_in, channels_last);
  const Tensor input = ordered(input_in, channels_last), weight = ordered(weight_in, !shape.taps_inner);
  const Tensor lateral = ordered(lateral_in, channels_last);
  Tensor out = new_map(lateral.sizes(), input.scalar_type(), channels_last, device);
  if (out.numel() == 0) {
    return out;
  }
  const DeconvSumArgs args{.shape = shape,
                           .input = input.const_data_ptr(),
                           .weight = weight.const_data_ptr(),
                           .bias = bias ? bias->const_data_ptr() : nullptr,
                           .lateral = lateral.const_data_ptr(),
                           .relu = relu,
                           .out = out.mutable_data_ptr()};
  run<cpu::deconv_sum, cuda::deconv_sum, cuda::deconv_sum_workspace>(device, args);
  return out;
}

// What was not asked for comes back as an empty tensor. Without `out` (there was no ReLU) `grad_lateral` is a copy of
// `grad`.
std::tuple<Tensor, Tensor, Tensor, Tensor> deconv_sum_backward(const Tensor& grad_in, const Tensor& input_in,
                                                               const Tensor& weight_in,
                                                               const std::optional<Tensor>& out_in, bool need_input,
                                                               bool need_weight, bool need_bias, bool need_lateral) {
  check_operands(input_in, weight_in);
  check_maps(input_in, weight_in, grad_in, "grad");
  if (out_in.has_value()) {
    check_maps(input_in, weight_in, *out_in, "out");
  }
  const Device device = device_of(input_in, "input");
  const ScalarType dtype = input_in.scalar_type();
  const bool relu = out_in.has_value();
  const bool channels_last = is_channels_last(input_in) || is_channels_last(out_in.value_or(grad_in));
  const DeconvSumShape shape = shape_of_call(input_in, weight_in, grad_in, channels_last);
  const Tensor input = ordered(input_in, channels_last), weight = ordered(weight_in, !shape.taps_inner);
  const Tensor grad = ordered(grad_in, channels_last);

  const auto none = [&] { return new_tensor({0}, dtype, device); };
  const Tensor out = relu ? ordered(*out_in, channels_last) : none();
  const auto image = [&](const Tensor& like, bool last) { return new_map(like.sizes(), dtype, last, device); };
  Tensor grad_input = need_input ? image(input, channels_last) : none();
  Tensor grad_weight = need_weight ? image(weight, !shape.taps_inner) : none();
  Tensor grad_bias = need_bias ? new_tensor({shape.channels}, dtype, device) : none();
  Tensor grad_lateral = relu ? image(grad, channels_last) : none();
  if (grad.numel() == 0) {
    for (Tensor* t : {&grad_input, &grad_weight, &grad_bias}) {
      torch::stable::zero_(*t);
    }
  } else if (relu || need_input || need_weight || need_bias) {
    const DeconvSumBackwardArgs args{.shape = shape,
                                     .grad = grad.const_data_ptr(),
                                     .input = input.const_data_ptr(),
                                     .weight = weight.const_data_ptr(),
                                     .out = relu ? out.const_data_ptr() : nullptr,
                                     .grad_input = need_input ? grad_input.mutable_data_ptr() : nullptr,
                                     .grad_weight = need_weight ? grad_weight.mutable_data_ptr() : nullptr,
                                     .grad_bias = need_bias ? grad_bias.mutable_data_ptr() : nullptr,
                                     .grad_lateral = relu ? grad_lateral.mutable_data_ptr() : nullptr};
    run<cpu::deconv_sum_backward, cuda::deconv_sum_backward, cuda::deconv_sum_backward_workspace>(device, args);
  }
  if (!need_lateral) {
    grad_lateral = none();
  } else if (!relu) {
    grad_lateral = torch::stable::clone(grad);
  }
  return {grad_input, grad_weight, grad_bias, grad_lateral};
}

}  // namespace

STABLE_TORCH_LIBRARY_FRAGMENT(REFINEDET_LIBRARY, m) {
  m.def("deconv_sum(Tensor input, Tensor weight, Tensor? bias, Tensor lateral, bool relu) -> Tensor");
  m.def(
      "_deconv_sum_backward(Tensor grad, Tensor input, Tensor weight, Tensor? out, bool need_input, bool need_weight, "
      "bool need_bias, bool need_lateral) -> (Tensor, Tensor, Tensor, Tensor)");
}

REFINEDET_KERNELS(m) {
  m.impl("deconv_sum", TORCH_BOX(&deconv_sum));
  m.impl("_deconv_sum_backward", TORCH_BOX(&deconv_sum_backward));
}

}  // namespace refinedet::torch_ops
