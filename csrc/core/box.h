// Boxes (x1, y1, x2, y2) and their overlaps. A negative side counts as zero.
#pragma once

#include "math.h"

namespace refinedet {

template <class T>
struct Box {
  T x1, y1, x2, y2;
};

template <class T>
REFINEDET_HD T area(const Box<T>& b) {
  return max2(T(0), b.x2 - b.x1) * max2(T(0), b.y2 - b.y1);  // in this order NaN passes through
}

template <class T>
REFINEDET_HD T intersection(const Box<T>& a, const Box<T>& b) {
  const T w = max2(min2(a.x2, b.x2) - max2(a.x1, b.x1), T(0));
  const T h = max2(min2(a.y2, b.y2) - max2(a.y1, b.y1), T(0));
  return w * h;
}

// Each operation rounded once; 0 where the union has no area or a coordinate is NaN.
template <class T>
REFINEDET_HD T iou(const Box<T>& a, T area_a, const Box<T>& b, T area_b) {
  const T inter = intersection(a, b);
  const T united = (area_a + area_b) - inter;
  const T ratio = inter / united;
  return (united > T(0)) & (ratio == ratio) ? ratio : T(0);
}

template <class T>
REFINEDET_HD Box<T> clip(const Box<T>& b, T width, T height) {
  return {clamp(b.x1, T(0), width), clamp(b.y1, T(0), height), clamp(b.x2, T(0), width), clamp(b.y2, T(0), height)};
}

}  // namespace refinedet
