#include "ops/filter_anchors.h"

#include "common.h"

namespace refinedet::torch_ops {
namespace {

Device check(const Tensor& logits, double theta) {
  const Device device = device_of(logits, "arm_logits");
  check_shape(logits, "arm_logits", {"B", "A", 2});
  REFINEDET_CHECK(theta >= 0 && theta <= 1, "theta: expected a number from 0 to 1, got ", theta);
  return device;
}

std::tuple<Tensor, Tensor> filter_anchors(const Tensor& logits_in, double theta) {
  const Tensor logits = as_contiguous(logits_in);
  const Device device = check(logits, theta);
  const int64_t batch = logits.size(0), count = logits.size(1);
  Tensor index = new_tensor({batch, count}, ScalarType::Long, device);
  Tensor index_count = new_tensor({batch}, ScalarType::Long, device);
  const FilterAnchorsArgs args{dtype_of(logits, "arm_logits"), logits.const_data_ptr(),   batch, count, theta,
                               data<int64_t>(index),           data<int64_t>(index_count)};
  run<cpu::filter_anchors, cuda::filter_anchors, cuda::filter_anchors_workspace>(device, args);
  return {index, index_count};
}

Tensor filter_anchors_mask(const Tensor& logits_in, double theta) {
  const Tensor logits = as_contiguous(logits_in);
  const Device device = check(logits, theta);
  const int64_t batch = logits.size(0), count = logits.size(1);
  Tensor mask = new_tensor({batch, count}, ScalarType::Bool, device);
  const FilterAnchorsMaskArgs args{
      dtype_of(logits, "arm_logits"), logits.const_data_ptr(), batch, count, theta, data<bool>(mask)};
  run<cpu::filter_anchors_mask, cuda::filter_anchors_mask>(device, args);
  return mask;
}

}  // namespace

STABLE_TORCH_LIBRARY_FRAGMENT(REFINEDET_LIBRARY, m) {
  m.def("filter_anchors(Tensor arm_logits, float theta) -> (Tensor index, Tensor count)");
  m.def("filter_anchors_mask(Tensor arm_logits, float theta) -> Tensor");
}

REFINEDET_KERNELS(m) {
  m.impl("filter_anchors", TORCH_BOX(&filter_anchors));
  m.impl("filter_anchors_mask", TORCH_BOX(&filter_anchors_mask));
}

}  // namespace refinedet::torch_ops
