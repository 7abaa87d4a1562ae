// The overlap of boxes, and the test of greedy suppression on it, which the CPU and the GPU decide alike. T and V are
// numbers or, on the CPU, registers full of them. A negative side counts as zero. Boxes whose areas together are beyond
// the range of T overlap nothing.
#pragma once

#include "box.h"
#include "threshold.h"

namespace refinedet {

template <class V>
REFINEDET_HD V area(const Box<V>& b) {
  return max2(V{}, b.x2 - b.x1) * max2(V{}, b.y2 - b.y1);  // in this order NaN passes through
}

template <class V>
REFINEDET_HD V intersection(const Box<V>& a, const Box<V>& b) {
  const V w = max2(min2(a.x2, b.x2) - max2(a.x1, b.x1), V{});
  const V h = max2(min2(a.y2, b.y2) - max2(a.y1, b.y1), V{});
  return w * h;
}

// The same for tests whether it is above a number from 0 on: where boxes do not meet it may also be negative.
template <class V>
REFINEDET_HD V signed_intersection(const Box<V>& a, const Box<V>& b) {
  const V w = max2(min2(a.x2, b.x2) - max2(a.x1, b.x1), V{});
  const V h = min2(a.y2, b.y2) - max2(a.y1, b.y1);
  return w * h;
}

template <class V>
REFINEDET_HD V united_area(V area_a, V area_b, V inter) {
  return (area_a + area_b) - inter;
}

// Each operation rounded once; 0 where the union has no area or a coordinate is NaN.
template <class V>
REFINEDET_HD V iou(const Box<V>& a, V area_a, const Box<V>& b, V area_b) {
  const V inter = intersection(a, b);
  const V united = united_area(area_a, area_b, inter);
  const V ratio = inter / united;
  return (united > V{}) & (ratio == ratio) ? ratio : V{};
}

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

  // What is compared with the threshold once the product has let a pair pass.
  template <class V>
  REFINEDET_HD static V quotient(const Box<V>& a, const Box<V>& b, V inter) {
    return inter / united_area(area(a), area(b), inter);
  }

  // Whether one of two boxes suppresses the other, given their shares.
  REFINEDET_HD bool suppresses(const Box<W>& a, W share_a, const Box<W>& b, W share_b) const {
    const W inter = signed_intersection(a, b);
    if (inter <= share_a + share_b) {
      return false;
    }
    return everything || (!nothing && quotient(a, b, inter) > threshold);
  }
};

}  // namespace refinedet
