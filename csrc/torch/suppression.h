// The settings that multiclass_nms and detect share, from the arguments of the ops.
#pragma once

#include "common.h"
#include "ops/suppression.h"

namespace refinedet::torch_ops {

SuppressionSettings suppression_settings(double iou_threshold, std::optional<int64_t> top_k_per_class,
                                         std::optional<int64_t> top_k, int64_t keep_top_k, const std::string& method,
                                         double sigma, double min_score);

}  // namespace refinedet::torch_ops
