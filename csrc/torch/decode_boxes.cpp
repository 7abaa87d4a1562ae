#include "ops/decode_boxes.h"

#include "common.h"

namespace refinedet::torch_ops {
namespace {

// `deltas` (..., 4) and `anchors` of that shape or of its last dimensions; same dtype (the Python face sees to both).
DecodeBoxesArgs make_args(const Tensor& deltas, const Tensor& anchors, const std::vector<double>& variances,
                          const std::optional<std::vector<double>>& clip_to) {
  check_box_rows(deltas, "deltas", anchors);
  DecodeBoxesArgs args{};
  args.dtype = dtype_of(deltas, "deltas");
  args.deltas = deltas.const_data_ptr();
  args.anchors = anchors.const_data_ptr();
  args.count = deltas.numel() / 4;
  args.anchor_count = anchors.numel() / 4;
  take_variances(variances, args);
  take_clip_to(clip_to, args);
  return args;
}

Tensor decode_boxes(const Tensor& deltas_in, const Tensor& anchors_in, std::vector<double> variances,
                    std::optional<std::vector<double>> clip_to) {
  const Tensor deltas = as_contiguous(deltas_in), anchors = as_contiguous(anchors_in);
  DecodeBoxesArgs args = make_args(deltas, anchors, variances, clip_to);
  const Device device = device_of(deltas, "deltas");
  Tensor boxes = new_tensor(deltas.sizes(), deltas.scalar_type(), device);
  args.boxes = boxes.mutable_data_ptr();
  run<cpu::decode_boxes, cuda::decode_boxes>(device, args);
  return boxes;
}

std::tuple<Tensor, Tensor> decode_boxes_backward(const Tensor& grad_in, const Tensor& deltas_in,
                                                 const Tensor& anchors_in, std::vector<double> variances,
                                                 std::optional<std::vector<double>> clip_to) {
  const Tensor grad = as_contiguous(grad_in);
  const Tensor deltas = as_contiguous(deltas_in), anchors = as_contiguous(anchors_in);
  const DecodeBoxesArgs forward = make_args(deltas, anchors, variances, clip_to);
  const Device device = device_of(deltas, "deltas");
  check_like(grad, "grad", deltas, "deltas");
  Tensor grad_deltas = new_tensor(deltas.sizes(), deltas.scalar_type(), device);
  Tensor grad_anchors = new_tensor(deltas.sizes(), deltas.scalar_type(), device);
  const DecodeBoxesBackwardArgs args{forward, grad.const_data_ptr(), grad_deltas.mutable_data_ptr(),
                                     grad_anchors.mutable_data_ptr()};
  run<cpu::decode_boxes_backward, cuda::decode_boxes_backward>(device, args);
  return {grad_deltas, grad_anchors};
}

}  // namespace

STABLE_TORCH_LIBRARY_FRAGMENT(REFINEDET_LIBRARY, m) {
  m.def(
      "decode_boxes(Tensor deltas, Tensor anchors, float[] variances=[0.1, 0.1, 0.2, 0.2], float[]? clip_to=None) "
      "-> Tensor");
  m.def(
      "_decode_boxes_backward(Tensor grad, Tensor deltas, Tensor anchors, float[] variances, float[]? clip_to) "
      "-> (Tensor, Tensor)");
}

REFINEDET_KERNELS(m) {
  m.impl("decode_boxes", TORCH_BOX(&decode_boxes));
  m.impl("_decode_boxes_backward", TORCH_BOX(&decode_boxes_backward));
}

}  // namespace refinedet::torch_ops
