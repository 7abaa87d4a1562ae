#include "ops/match_anchors.h"

#include "common.h"
#include "ops/match_checks.h"

namespace refinedet::torch_ops {
namespace {

std::tuple<Tensor, Tensor, Tensor> match_anchors(const Tensor& anchors_in, const Tensor& gt_boxes_in,
                                                 const Tensor& gt_labels_in, const Tensor& gt_offsets_in,
                                                 std::optional<Tensor> gt_ignore_in, double positive_iou,
                                                 double negative_iou, double ignore_iof, std::string force_match) {
  const Tensor anchors = as_contiguous(anchors_in), gt_boxes = as_contiguous(gt_boxes_in);
  const Tensor gt_labels = as_contiguous(gt_labels_in), gt_offsets = as_contiguous(gt_offsets_in);
  const Device device = device_of(anchors, "anchors");
  check_device(gt_boxes, device, "gt_boxes");
  check_shape(gt_boxes, "gt_boxes", {"G", 4});
  REFINEDET_CHECK(gt_offsets.dim() == 1 && gt_offsets.size(0) > 0, "gt_offsets: expected shape (B+1,), got ",
                  shape_of(gt_offsets));
  MatchAnchorsArgs args{};
  args.batch = gt_offsets.size(0) - 1;
  args.gt_count = gt_boxes.size(0);
  args.shared = anchors.dim() == 2;
  REFINEDET_CHECK(
      (args.shared || (anchors.dim() == 3 && anchors.size(0) == args.batch)) && anchors.size(anchors.dim() - 1) == 4,
      "anchors: expected shape (A, 4) or (", args.batch, ", A, 4), got ", shape_of(anchors));
  check_tensor(gt_labels, "gt_labels", device, ScalarType::Long, {args.gt_count});
  check_tensor(gt_offsets, "gt_offsets", device, ScalarType::Long, {args.batch + 1});
  Tensor gt_ignore;
  if (gt_ignore_in.has_value()) {
    gt_ignore = as_contiguous(*gt_ignore_in);
    check_tensor(gt_ignore, "gt_ignore", device, ScalarType::Bool, {args.gt_count});
    args.gt_ignore = const_data<bool>(gt_ignore);
  }
  const std::optional<ForceMatch> force = force_match_of(force_match);
  REFINEDET_CHECK(force.has_value(), "force_match: expected bipartite, argmax or none, got ", force_match);
  args.anchor_dtype = dtype_of(anchors, "anchors");
  args.anchors = anchors.const_data_ptr();
  args.anchor_count = anchors.size(anchors.dim() - 2);
  args.gt_dtype = dtype_of(gt_boxes, "gt_boxes");
  args.gt_boxes = gt_boxes.const_data_ptr();
  args.gt_labels = const_data<int64_t>(gt_labels);
  args.gt_offsets = const_data<int64_t>(gt_offsets);
  args.positive_iou = positive_iou;
  args.negative_iou = negative_iou;
  args.ignore_iof = ignore_iof;
  args.force = *force;
  check_problem(match_problem(args));
  if (!device.on_gpu()) {  // there reading them would make the host wait
    check_problem(match_data_problem(args));
  }

  const int64_t sizes[] = {args.batch, args.anchor_count};
  const Tensor labels = new_tensor(sizes, ScalarType::Long, device),
               gt_index = new_tensor(sizes, ScalarType::Long, device);
  const Tensor iou = new_tensor(sizes, ScalarType::Float, device);
  args.labels = data<int64_t>(labels);
  args.gt_index = data<int64_t>(gt_index);
  args.iou = data<float>(iou);
  run<cpu::match_anchors, cuda::match_anchors, cuda::match_anchors_workspace>(device, args);
  return {labels, gt_index, iou};
}

}  // namespace

STABLE_TORCH_LIBRARY_FRAGMENT(REFINEDET_LIBRARY, m) {
  m.def(
      "match_anchors(Tensor anchors, Tensor gt_boxes, Tensor gt_labels, Tensor gt_offsets, "
      "Tensor? gt_ignore=None, float positive_iou=0.5, float negative_iou=0.5, float ignore_iof=0.5, "
      "str force_match='bipartite') "
      "-> (Tensor labels, Tensor gt_index, Tensor iou)");
}

REFINEDET_KERNELS(m) { m.impl("match_anchors", TORCH_BOX(&match_anchors)); }

}  // namespace refinedet::torch_ops
