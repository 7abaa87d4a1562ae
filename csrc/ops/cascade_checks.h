// What is wrong with the rows that a call of `decode_cascade` keeps, in words: the faces throw it as their own kind of
// error. Not for kernel files (see cpu/runtime/level.h).
#pragma once

#include <cstdint>
#include <string>

namespace refinedet {

// Looks at every count (batch,) and at the rows (batch, anchors) before it, in the host's memory: the kernel writes to
// these rows, so that they must exist. Empty where nothing is wrong.
inline std::string kept_problem(const int64_t* index, const int64_t* counts, int64_t batch, int64_t anchors) {
  const auto problem = [](const char* name, int64_t most, int64_t got) {
    return std::string(name) + ": expected values from 0 to " + std::to_string(most) + ", got " + std::to_string(got);
  };
  for (int64_t b = 0; b < batch; ++b) {
    if (counts[b] < 0 || counts[b] > anchors) {
      return problem("kept.count", anchors, counts[b]);
    }
    const int64_t* rows = index + b * anchors;
    for (int64_t i = 0; i < counts[b]; ++i) {
      if (rows[i] < 0 || rows[i] >= anchors) {
        return problem("kept.index", anchors - 1, rows[i]);
      }
    }
  }
  return "";
}

}  // namespace refinedet
