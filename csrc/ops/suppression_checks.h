// A method of suppression by its name, and what is wrong with the settings of one, in words: the faces throw it as
// their own kind of error. Not for kernel files (see cpu/runtime/level.h).
#pragma once

#include <optional>
#include <string>

#include "numbers.h"
#include "suppression.h"

namespace refinedet {

inline std::optional<SuppressionMethod> suppression_method_of(const std::string& name) {
  if (name == "hard") {
    return SuppressionMethod::hard;
  }
  if (name == "linear") {
    return SuppressionMethod::linear;
  }
  if (name == "gaussian") {
    return SuppressionMethod::gaussian;
  }
  return std::nullopt;
}

// Empty where nothing is wrong.
inline std::string suppression_problem(const SuppressionSettings& settings) {
  if (!(settings.iou_threshold >= 0 && settings.iou_threshold <= 1)) {
    return "iou_threshold: expected a number from 0 to 1, got " + text_of(settings.iou_threshold);
  }
  if (settings.top_k_per_class < 1) {
    return "top_k_per_class: expected at least 1, got " + std::to_string(settings.top_k_per_class);
  }
  if (settings.top_k < 1) {
    return "top_k: expected at least 1, got " + std::to_string(settings.top_k);
  }
  if (settings.keep_top_k < 0) {
    return "keep_top_k: expected at least 0, got " + std::to_string(settings.keep_top_k);
  }
  if (!(settings.sigma > 0)) {
    return "sigma: expected a positive number, got " + text_of(settings.sigma);
  }
  if (!(settings.min_score >= 0)) {
    return "min_score: expected at least 0, got " + text_of(settings.min_score);
  }
  return "";
}

}  // namespace refinedet
