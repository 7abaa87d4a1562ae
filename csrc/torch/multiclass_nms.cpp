#include "ops/multiclass_nms.h"

#include <cmath>

#include "common.h"
#include "suppression.h"

namespace refinedet::torch_ops {
namespace {

// The table as it is where its rows can be walked by strides, else a contiguous copy.
Tensor walkable(const Tensor& t) {
  const bool rows_apart = t.size(2) <= 1 || t.stride(2) == 1;
  const bool forward = t.stride(1) >= t.size(2) && t.stride(0) >= 0;
  return rows_apart && forward && t.size(1) * t.stride(1) <= INT32_MAX ? t : torch::stable::contiguous(t);
}

std::tuple<Tensor, Tensor, Tensor, Tensor> multiclass_nms(const Tensor& boxes_in, const Tensor& scores_in,
                                                          double score_threshold, double iou_threshold,
                                                          std::optional<int64_t> top_k_per_class,
                                                          std::optional<int64_t> top_k, int64_t keep_top_k,
                                                          std::string method, double sigma, double min_score) {
  const Device device = device_of(boxes_in, "boxes");
  check_device(scores_in, device, "scores");
  check_no_double_on_gpu(boxes_in, device, "boxes");
  check_no_double_on_gpu(scores_in, device, "scores");
  check_shape(boxes_in, "boxes", {"B", "A", 4});
  check_shape(scores_in, "scores", {boxes_in.size(0), boxes_in.size(1), "C"});
  MulticlassNmsArgs args{};
  args.images = boxes_in.size(0);
  args.anchors = boxes_in.size(1);
  args.classes = scores_in.size(2);
  REFINEDET_CHECK(args.classes == 0 || args.anchors <= INT32_MAX / args.classes,
                  "scores: expected at most 2147483647 scores per image, got shape ", shape_of(scores_in));
  args.settings = suppression_settings(iou_threshold, top_k_per_class, top_k, keep_top_k, method, sigma, min_score);
  REFINEDET_CHECK(!std::isnan(score_threshold), "score_threshold: expected a number, got nan");
  args.score_threshold = score_threshold;

  const bool packed = boxes_in.stride(2) == 1 && boxes_in.stride(1) == 4;
  const Tensor boxes = packed ? boxes_in : torch::stable::contiguous(boxes_in), scores = walkable(scores_in);
  args.box_dtype = dtype_of(boxes, "boxes");
  args.score_dtype = dtype_of(scores, "scores");
  args.boxes = boxes.const_data_ptr();
  args.scores = scores.const_data_ptr();
  args.box_image_stride = boxes.stride(0);
  args.score_image_stride = scores.stride(0);
  args.score_row_stride = scores.stride(1);

  const auto detections = new_detections(args.images, boxes.scalar_type(), scores.scalar_type(), device, args);
  run<cpu::multiclass_nms, cuda::multiclass_nms, cuda::multiclass_nms_workspace>(device, args);
  return detections;
}

}  // namespace

STABLE_TORCH_LIBRARY_FRAGMENT(REFINEDET_LIBRARY, m) {
  m.def(
      "multiclass_nms(Tensor boxes, Tensor scores, float score_threshold=0.01, float iou_threshold=0.45, "
      "int? top_k_per_class=None, int? top_k=400, int keep_top_k=200, str method='hard', float sigma=0.5, "
      "float min_score=0.001) -> (Tensor, Tensor, Tensor, Tensor)");
}

REFINEDET_KERNELS(m) { m.impl("multiclass_nms", TORCH_BOX(&multiclass_nms)); }

}  // namespace refinedet::torch_ops
