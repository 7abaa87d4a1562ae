#include "ops/depthwise_conv2d.h"

#include "common.h"

namespace refinedet::torch_ops {
namespace {

// A gradient that is not wanted comes back without elements. `padding`: rows above and columns left of the input; how
// many there are below and on the right follows from the size of `grad`.
std::tuple<Tensor, Tensor> depthwise_conv2d_backward(const Tensor& grad_in, const Tensor& input_in,
                                                     const Tensor& weight_in, int64_t stride,
                                                     std::vector<int64_t> padding, bool want_input, bool want_weight) {
  const ScalarType dtype = input_in.scalar_type();
  check_shape(input_in, "input", {"B", "C", "H", "W"});
  const int64_t batch = input_in.size(0), channels = input_in.size(1);
  const int64_t kernel = weight_in.dim() == 4 && weight_in.size(2) > 0 ? weight_in.size(2) : 1;
  check_tensor(weight_in, "weight", Device::cpu(), dtype, {channels, 1, kernel, kernel});
  check_tensor(grad_in, "grad", Device::cpu(), dtype, {batch, channels, "Ho", "Wo"});
  REFINEDET_CHECK(stride >= 1, "stride: expected at least 1, got ", stride);
  REFINEDET_CHECK(padding.size() == 2 && padding[0] >= 0 && padding[1] >= 0, "padding: expected two numbers from 0 on");
  constexpr auto last = torch::headeronly::MemoryFormat::ChannelsLast;
  const Tensor grad = torch::stable::contiguous(grad_in, last), input = torch::stable::contiguous(input_in, last);
  const Tensor weight = as_contiguous(weight_in);
  const std::array<int64_t, 1> none{0};
  Tensor grad_input = want_input ? new_map(input.sizes(), dtype, true, Device::cpu()) : new_tensor({0}, dtype);
  Tensor grad_weight = new_tensor(want_weight ? weight.sizes() : Sizes(none), dtype);
  if (grad.numel() == 0) {
    torch::stable::zero_(grad_input);
    torch::stable::zero_(grad_weight);
    return {grad_input, grad_weight};
  }
  void* const to_input = want_input ? grad_input.mutable_data_ptr() : nullptr;
  void* const to_weight = want_weight ? grad_weight.mutable_data_ptr() : nullptr;
  cpu::depthwise_conv2d_backward({dtype_of(input, "input"), batch, channels, input.size(2), input.size(3), grad.size(2),
                                  grad.size(3), kernel, stride, padding[0], padding[1], grad.const_data_ptr(),
                                  input.const_data_ptr(), weight.const_data_ptr(), to_input, to_weight},
                                 torch_threads());
  return {grad_input, grad_weight};
}

}  // namespace

STABLE_TORCH_LIBRARY_FRAGMENT(REFINEDET_LIBRARY, m) {
  m.def(
      "_depthwise_conv2d_backward(Tensor grad, Tensor input, Tensor weight, int stride, int[] padding, "
      "bool want_input, bool want_weight) -> (Tensor, Tensor)");
}

STABLE_TORCH_LIBRARY_IMPL(REFINEDET_LIBRARY, CPU, m) {
  m.impl("_depthwise_conv2d_backward", TORCH_BOX(&depthwise_conv2d_backward));
}

}  // namespace refinedet::torch_ops
