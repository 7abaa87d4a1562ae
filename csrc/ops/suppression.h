// The settings of non-maximum suppression that multiclass_nms and detect share.
#pragma once

#include <cstdint>

namespace refinedet {

enum class SuppressionMethod : int8_t { hard, linear, gaussian };

inline constexpr int64_t kNoLimit = INT64_MAX;

struct SuppressionSettings {
  double iou_threshold;
  int64_t top_k_per_class;  // candidates that go in, of a class and of the image: at least 1, or kNoLimit
  int64_t top_k;
  int64_t keep_top_k;  // detections that come out: at least 0
  SuppressionMethod method;
  double sigma, min_score;  // of the soft methods; positive, at least 0
};

}  // namespace refinedet
