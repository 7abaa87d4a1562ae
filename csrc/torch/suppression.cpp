#include "suppression.h"

namespace refinedet::torch_ops {
namespace {

SuppressionMethod method_of(const std::string& method) {
  if (method == "hard") {
    return SuppressionMethod::hard;
  }
  if (method == "linear") {
    return SuppressionMethod::linear;
  }
  REFINEDET_CHECK(method == "gaussian", "method: expected hard, linear or gaussian, got ", method);
  return SuppressionMethod::gaussian;
}

}  // namespace

SuppressionSettings suppression_settings(double iou_threshold, std::optional<int64_t> top_k_per_class,
                                         std::optional<int64_t> top_k, int64_t keep_top_k, const std::string& method,
                                         double sigma, double min_score) {
  REFINEDET_CHECK(iou_threshold >= 0 && iou_threshold <= 1, "iou_threshold: expected a number from 0 to 1, got ",
                  iou_threshold);
  REFINEDET_CHECK(top_k_per_class.value_or(1) >= 1, "top_k_per_class: expected at least 1, got ", *top_k_per_class);
  REFINEDET_CHECK(top_k.value_or(1) >= 1, "top_k: expected at least 1, got ", *top_k);
  REFINEDET_CHECK(keep_top_k >= 0, "keep_top_k: expected at least 0, got ", keep_top_k);
  REFINEDET_CHECK(sigma > 0, "sigma: expected a positive number, got ", sigma);
  REFINEDET_CHECK(min_score >= 0, "min_score: expected at least 0, got ", min_score);
  return {
      iou_threshold, top_k_per_class.value_or(kNoLimit), top_k.value_or(kNoLimit), keep_top_k, method_of(method), sigma,
      min_score};
}

}  // namespace refinedet::torch_ops
