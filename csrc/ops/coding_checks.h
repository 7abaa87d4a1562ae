// What is wrong with the settings of box coding, in words: the faces throw it as their own kind of error. Not for
// kernel files (see cpu/runtime/level.h).
#pragma once

#include <cmath>
#include <string>
#include <vector>

#include "numbers.h"

namespace refinedet {

// Empty where nothing is wrong.
inline std::string variances_problem(const std::vector<double>& variances) {
  if (variances.size() != 4) {
    return "variances: expected 4 values, got " + std::to_string(variances.size());
  }
  for (const double v : variances) {
    if (!(v > 0 && std::isfinite(v))) {
      return "variances: expected positive finite values, got " + text_of(v);
    }
  }
  return "";
}

inline std::string clip_to_problem(const std::vector<double>& clip_to) {
  if (clip_to.size() != 2) {
    return "clip_to: expected (width, height), got " + std::to_string(clip_to.size()) + " values";
  }
  for (const double side : clip_to) {
    if (!(side >= 0 && std::isfinite(side))) {
      return "clip_to: expected finite sizes of at least 0, got " + text_of(side);
    }
  }
  return "";
}

}  // namespace refinedet
