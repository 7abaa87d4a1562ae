// What is wrong with a call of `match_anchors`, in words: the faces throw it as their own kind of error. Not for kernel
// files (see level.h).
#pragma once

#include <optional>
#include <string>

#include "match_anchors.h"
#include "numbers.h"

namespace refinedet {

inline std::optional<ForceMatch> force_match_of(const std::string& name) {
  if (name == "none") {
    return ForceMatch::none;
  }
  if (name == "argmax") {
    return ForceMatch::argmax;
  }
  if (name == "bipartite") {
    return ForceMatch::bipartite;
  }
  return std::nullopt;
}

// Looks at the thresholds and sizes. Empty where nothing is wrong.
inline std::string match_problem(const MatchAnchorsArgs& args) {
  for (const auto& [name, value] : {std::pair{"positive_iou", args.positive_iou},
                                    {"negative_iou", args.negative_iou},
                                    {"ignore_iof", args.ignore_iof}}) {
    if (!(value >= 0 && value <= 1)) {
      return std::string(name) + ": expected a number from 0 to 1, got " + text_of(value);
    }
  }
  if (!(args.ignore_iof > 0)) {
    return "ignore_iof: expected a number above 0, got " + text_of(args.ignore_iof);
  }
  if (args.anchor_count >= int64_t{1} << 31) {
    return "anchors: expected fewer than 2^31 per image, got " + std::to_string(args.anchor_count);
  }
  return "";
}

// Looks at every offset and label, which must be in the host's memory. Empty where nothing is wrong.
inline std::string match_data_problem(const MatchAnchorsArgs& args) {
  const auto text = [](auto x) { return std::to_string(x); };
  if (args.gt_offsets[0] != 0) {
    return "gt_offsets: expected to start at 0, got " + text(args.gt_offsets[0]);
  }
  for (int64_t b = 0; b < args.batch; ++b) {
    if (args.gt_offsets[b + 1] < args.gt_offsets[b]) {
      return "gt_offsets: expected never to fall, got " + text(args.gt_offsets[b]) + " and then " +
             text(args.gt_offsets[b + 1]) + " at position " + text(b + 1);
    }
  }
  if (args.gt_offsets[args.batch] != args.gt_count) {
    return "gt_offsets: expected to end at " + text(args.gt_count) + ", the number of rows of gt_boxes, got " +
           text(args.gt_offsets[args.batch]);
  }
  for (int64_t row = 0; row < args.gt_count; ++row) {
    if (args.gt_labels[row] < 1) {
      return "gt_labels: expected classes from 1 on, got " + text(args.gt_labels[row]) + " in row " + text(row);
    }
  }
  return "";
}

}  // namespace refinedet
