#include "suppression.h"

#include "ops/suppression_method.h"

namespace refinedet::torch_ops {

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
  const auto known = suppression_method_of(method);
  REFINEDET_CHECK(known.has_value(), "method: expected hard, linear or gaussian, got ", method);
  return {iou_threshold, top_k_per_class.value_or(kNoLimit), top_k.value_or(kNoLimit), keep_top_k, *known, sigma,
          min_score};
}

}  // namespace refinedet::torch_ops
