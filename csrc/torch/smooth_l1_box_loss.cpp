#include "ops/smooth_l1_box_loss.h"

#include <cmath>

#include "loss_checks.h"

namespace refinedet::torch_ops {
namespace {

// deltas (B, A, 4), anchors (A, 4) or (B, A, 4), gt_boxes (G, 4), all of one dtype; gt_index (B, A).
SmoothL1BoxLossArgs make_args(const Tensor& deltas, const Tensor& anchors, const Tensor& gt_boxes,
                              const Tensor& gt_index, const std::vector<double>& variances, double beta,
                              Device device) {
  check_shape(deltas, "deltas", {"B", "A", 4});
  check_box_rows(deltas, "deltas", anchors);
  SmoothL1BoxLossArgs args{};
  args.batch = deltas.size(0);
  args.anchor_count = deltas.size(1);
  args.shared = anchors.dim() == 2;
  REFINEDET_CHECK((args.shared && anchors.size(0) == args.anchor_count) || anchors.sizes().equals(deltas.sizes()),
                  "anchors: expected shape (", args.anchor_count, ", 4) or ", shape_of(deltas), ", got ",
                  shape_of(anchors));
  check_tensor(gt_boxes, "gt_boxes", device, deltas.scalar_type(), {"G", 4});
  args.gt_count = gt_boxes.size(0);
  check_tensor(gt_index, "gt_index", device, ScalarType::Long, {args.batch, args.anchor_count}, "deltas");
  REFINEDET_CHECK(beta >= 0 && std::isfinite(beta), "beta: expected a finite number of at least 0, got ", beta);
  args.dtype = dtype_of(deltas, "deltas");
  args.deltas = deltas.const_data_ptr();
  args.anchors = anchors.const_data_ptr();
  args.gt_boxes = gt_boxes.const_data_ptr();
  args.gt_index = const_data<int64_t>(gt_index);
  take_variances(variances, args);
  args.beta = beta;
  return args;
}

Tensor smooth_l1_box_loss(const Tensor& deltas_in, const Tensor& anchors_in, const Tensor& gt_boxes_in,
                          const Tensor& gt_index_in, std::vector<double> variances, double beta) {
  const Tensor deltas = as_contiguous(deltas_in), anchors = as_contiguous(anchors_in);
  const Tensor gt_boxes = as_contiguous(gt_boxes_in), gt_index = as_contiguous(gt_index_in);
  const Device device = device_of(deltas, "deltas");
  SmoothL1BoxLossArgs args = make_args(deltas, anchors, gt_boxes, gt_index, variances, beta, device);
  check_below(gt_index, "gt_index", args.gt_count, device);
  const Tensor loss = new_tensor({args.batch}, sum_dtype(deltas), device);
  args.loss = loss.mutable_data_ptr();
  run<cpu::smooth_l1_box_loss, cuda::smooth_l1_box_loss>(device, args);
  return loss;
}

Tensor smooth_l1_box_loss_backward(const Tensor& grad_in, const Tensor& deltas_in, const Tensor& anchors_in,
                                   const Tensor& gt_boxes_in, const Tensor& gt_index_in, std::vector<double> variances,
                                   double beta) {
  const Tensor grad = as_contiguous(grad_in), deltas = as_contiguous(deltas_in), anchors = as_contiguous(anchors_in);
  const Tensor gt_boxes = as_contiguous(gt_boxes_in), gt_index = as_contiguous(gt_index_in);
  const Device device = device_of(deltas, "deltas");
  const SmoothL1BoxLossArgs forward = make_args(deltas, anchors, gt_boxes, gt_index, variances, beta, device);
  check_tensor(grad, "grad", device, sum_dtype(deltas), {forward.batch});
  const Tensor grad_deltas = new_tensor(deltas.sizes(), deltas.scalar_type(), device);
  const SmoothL1BoxLossBackwardArgs args{forward, grad.const_data_ptr(), grad_deltas.mutable_data_ptr()};
  run<cpu::smooth_l1_box_loss_backward, cuda::smooth_l1_box_loss_backward>(device, args);
  return grad_deltas;
}

}  // namespace

STABLE_TORCH_LIBRARY_FRAGMENT(REFINEDET_LIBRARY, m) {
  m.def(
      "smooth_l1_box_loss(Tensor deltas, Tensor anchors, Tensor gt_boxes, Tensor gt_index, float[] variances,"
      " float beta) -> Tensor");
  m.def(
      "_smooth_l1_box_loss_backward(Tensor grad, Tensor deltas, Tensor anchors, Tensor gt_boxes, Tensor gt_index,"
      " float[] variances, float beta) -> Tensor");
}

REFINEDET_KERNELS(m) {
  m.impl("smooth_l1_box_loss", TORCH_BOX(&smooth_l1_box_loss));
  m.impl("_smooth_l1_box_loss_backward", TORCH_BOX(&smooth_l1_box_loss_backward));
}

}  // namespace refinedet::torch_ops
