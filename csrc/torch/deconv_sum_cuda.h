// deconv_sum on a GPU, on checked tensors whose maps are in the order that channels_last says.
#pragma once

#include "deconv_sum_product.h"

#if defined(REFINEDET_WITH_CUDA)
namespace refinedet::torch_ops {

Tensor deconv_sum_on_gpu(const Tensor& input, const Tensor& weight, const std::optional<Tensor>& bias,
                         const Tensor& lateral, bool relu, bool channels_last);

// What was not asked for is not written.
struct DeconvSumGrads {
  std::optional<Tensor> input, weight, bias, lateral;
};

// `lateral` only with `out`.
DeconvSumGrads deconv_sum_backward_on_gpu(const Tensor& grad, const Tensor& input, const Tensor& weight,
                                          const std::optional<Tensor>& out, bool need_input, bool need_weight,
                                          bool need_bias, bool channels_last);

}  // namespace refinedet::torch_ops
#endif
