#include "ops/encode_boxes.h"

#include "common.h"

namespace refinedet::torch_ops {
namespace {

// `boxes` (..., 4) and `anchors` of that shape or of its last dimensions; same dtype (the Python face sees to both).
EncodeBoxesArgs make_args(const Tensor& boxes, const Tensor& anchors, const std::vector<double>& variances) {
  check_box_rows(boxes, "boxes", anchors);
  EncodeBoxesArgs args{};
  args.dtype = dtype_of(boxes, "boxes");
  args.boxes = boxes.const_data_ptr();
  args.anchors = anchors.const_data_ptr();
  args.count = boxes.numel() / 4;
  args.anchor_count = anchors.numel() / 4;
  take_variances(variances, args);
  return args;
}

Tensor encode_boxes(const Tensor& boxes_in, const Tensor& anchors_in, std::vector<double> variances) {
  const Tensor boxes = as_contiguous(boxes_in), anchors = as_contiguous(anchors_in);
  EncodeBoxesArgs args = make_args(boxes, anchors, variances);
  const Device device = device_of(boxes, "boxes");
  Tensor deltas = new_tensor(boxes.sizes(), boxes.scalar_type(), device);
  args.deltas = deltas.mutable_data_ptr();
  run<cpu::encode_boxes, cuda::encode_boxes>(device, args);
  return deltas;
}

std::tuple<Tensor, Tensor> encode_boxes_backward(const Tensor& grad_in, const Tensor& boxes_in,
                                                 const Tensor& anchors_in, std::vector<double> variances) {
  const Tensor grad = as_contiguous(grad_in);
  const Tensor boxes = as_contiguous(boxes_in), anchors = as_contiguous(anchors_in);
  const EncodeBoxesArgs forward = make_args(boxes, anchors, variances);
  const Device device = device_of(boxes, "boxes");
  check_like(grad, "grad", boxes, "boxes");
  Tensor grad_boxes = new_tensor(boxes.sizes(), boxes.scalar_type(), device);
  Tensor grad_anchors = new_tensor(boxes.sizes(), boxes.scalar_type(), device);
  const EncodeBoxesBackwardArgs args{forward, grad.const_data_ptr(), grad_boxes.mutable_data_ptr(),
                                     grad_anchors.mutable_data_ptr()};
  run<cpu::encode_boxes_backward, cuda::encode_boxes_backward>(device, args);
  return {grad_boxes, grad_anchors};
}

}  // namespace

STABLE_TORCH_LIBRARY_FRAGMENT(REFINEDET_LIBRARY, m) {
  m.def("encode_boxes(Tensor boxes, Tensor anchors, float[] variances=[0.1, 0.1, 0.2, 0.2]) -> Tensor");
  m.def("_encode_boxes_backward(Tensor grad, Tensor boxes, Tensor anchors, float[] variances) -> (Tensor, Tensor)");
}

REFINEDET_KERNELS(m) {
  m.impl("encode_boxes", TORCH_BOX(&encode_boxes));
  m.impl("_encode_boxes_backward", TORCH_BOX(&encode_boxes_backward));
}

}  // namespace refinedet::torch_ops
