// What multiclass_nms and detect share: their settings, from the arguments of the ops, and their results.
#pragma once

#include "common.h"
#include "ops/suppression_checks.h"

namespace refinedet::torch_ops {

inline SuppressionSettings suppression_settings(double iou_threshold, std::optional<int64_t> top_k_per_class,
                                                std::optional<int64_t> top_k, int64_t keep_top_k,
                                                const std::string& method, double sigma, double min_score) {
  const auto known = suppression_method_of(method);
  REFINEDET_CHECK(known.has_value(), "method: expected hard, linear or gaussian, got ", method);
  const SuppressionSettings settings{
      iou_threshold, top_k_per_class.value_or(kNoLimit), top_k.value_or(kNoLimit), keep_top_k, *known, sigma,
      min_score};
  check_problem(suppression_problem(settings));
  return settings;
}

// New tensors for an op's detections, which `args` then points at.
template <class Args>
std::tuple<Tensor, Tensor, Tensor, Tensor> new_detections(int64_t images, ScalarType boxes_dtype,
                                                          ScalarType scores_dtype, Device device, Args& args) {
  const int64_t rows = args.settings.keep_top_k;
  const Tensor boxes = new_tensor({images, rows, 4}, boxes_dtype, device);
  const Tensor scores = new_tensor({images, rows}, scores_dtype, device);
  const Tensor labels = new_tensor({images, rows}, ScalarType::Long, device);
  const Tensor count = new_tensor({images}, ScalarType::Long, device);
  args.out_boxes = boxes.mutable_data_ptr();
  args.out_scores = scores.mutable_data_ptr();
  args.out_labels = data<int64_t>(labels);
  args.out_counts = data<int64_t>(count);
  return {boxes, scores, labels, count};
}

}  // namespace refinedet::torch_ops
