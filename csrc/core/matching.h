// The rules by which anchors are matched to ground truths.
#pragma once

#include "box_io.h"
#include "iou.h"
#include "threshold.h"

namespace refinedet {

inline constexpr float kForceMinIou = 1e-6f;  // a ground truth that overlaps no anchor by more gets none

// Overlaps are float, whatever the boxes come in.
template <class W>
REFINEDET_HD Box<float> to_float(const Box<W>& b) {
  return {static_cast<float>(b.x1), static_cast<float>(b.y1), static_cast<float>(b.x2), static_cast<float>(b.y2)};
}

template <class T>
REFINEDET_HD Box<float> load_float_box(const T* p) {
  return to_float(load_box(p));
}

// Without extent, overlapping nothing, and no bounds grow by it.
REFINEDET_HD Box<float> no_box() {
  const float inf = __builtin_huge_valf();
  return {inf, inf, -inf, -inf};
}

// Whether boxes may overlap; where not, their IoU is exactly zero. A box with a NaN coordinate reaches none.
REFINEDET_HD bool reaches(const Box<float>& a, const Box<float>& b) {
  return (a.x1 < b.x2) & (a.x2 > b.x1) & (a.y1 < b.y2) & (a.y2 > b.y1);
}

// An anchor and its overlap with one object as a number: the larger, the better; 0 is none. Lower anchors win ties.
REFINEDET_HD uint64_t match_key(float iou, int64_t anchor) {
  return static_cast<uint64_t>(static_cast<uint32_t>(float_to_bits(iou))) << 32 | (0xffffffffu - anchor);
}
REFINEDET_HD int64_t anchor_of(uint64_t key) { return 0xffffffffu - static_cast<int64_t>(key & 0xffffffffu); }
REFINEDET_HD float iou_of(uint64_t key) { return bits_to_float(static_cast<int32_t>(key >> 32)); }

// What the thresholds say of an anchor.
class MatchLimits {
 public:
  REFINEDET_HD MatchLimits(double positive_iou, double negative_iou, double ignore_iof)
      : positive_(ceil_to<float>(positive_iou)),
        negative_(ceil_to<float>(negative_iou)),
        ignore_(ceil_to<float>(ignore_iof)) {}

  // With its best overlap, where there is something to match.
  REFINEDET_HD bool positive(float iou) const { return iou >= positive_; }
  // Its label if nothing matches it.
  REFINEDET_HD int64_t unmatched(float iou) const { return iou < negative_ ? 0 : -1; }
  // Whether it is inside an ignored (crowd) box; never without an area, which gives NaN.
  REFINEDET_HD bool inside(const Box<float>& anchor, float anchor_area, const Box<float>& crowd) const {
    return intersection(anchor, crowd) / anchor_area >= ignore_;
  }

 private:
  // the smallest floats that are not below the thresholds
  float positive_, negative_, ignore_;
};

}  // namespace refinedet
