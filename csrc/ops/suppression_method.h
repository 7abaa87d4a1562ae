// A method of suppression by its name. Not for kernel files (see cpu/runtime/level.h).
#pragma once

#include <optional>
#include <string>

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

}  // namespace refinedet
