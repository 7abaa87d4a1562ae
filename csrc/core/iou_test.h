// The test of greedy suppression, which the CPU and the GPU decide alike.
#pragma once

#include "box.h"
#include "threshold.h"

namespace refinedet {

// Decides `iou(a, b) > threshold` exactly as written: the quotient rounded to W, the threshold in double precision.
// A product settles nearly every pair without a division. From inter / (area_a + area_b - inter) > t follows
// inter > t / (1 + t) * (area_a + area_b); with `share`, that factor a little lowered, the test holds in spite of
// rounding, and the few pairs that pass it are divided.
template <class W>
struct IouTest {
  W threshold;
  W share;
  bool everything, nothing;  // thresholds below 0 and from 1 on (and NaN)

  REFINEDET_HOST explicit IouTest(double t)
      : threshold(floor_to<W>(t)), share(0), everything(t < 0), nothing(!(t < 1)) {
    if (everything) {
      share = static_cast<W>(NAN);  // no product settles it
    } else if (t > 1e-30) {         // else the test is inter > 0
      share = static_cast<W>(t / (1 + t) * (1 - 1e-5));
    }
  }

  // The box's part of the right-hand side; 0 is always safe, and needed where products lose relative precision.
  REFINEDET_HD W share_of(const Box<W>& b) const {
    const W part = area(b) * share;
    return part < W(1e-30) ? W(0) : part;  // NaN stays: such a box overlaps nothing
  }

  // Whether one of two boxes suppresses the other, given their parts. Not for a register full of them: the CPU's lanes
  // have a form of their own.
  REFINEDET_HD bool suppresses(const Box<W>& a, W share_a, const Box<W>& b, W share_b) const {
    const W w = max2(min2(a.x2, b.x2) - max2(a.x1, b.x1), W(0));
    const W h = min2(a.y2, b.y2) - max2(a.y1, b.y1);  // where it is negative, so is the product, or zero
    const W inter = w * h;
    if (inter <= share_a + share_b) {
      return false;
    }
    if (everything || nothing) {
      return everything;
    }
    return inter / ((area(a) + area(b)) - inter) > threshold;
  }
};

}  // namespace refinedet
