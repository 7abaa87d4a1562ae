// Boxes (x1, y1, x2, y2).
#pragma once

#include "math.h"

namespace refinedet {

template <class T>
struct Box {
  T x1, y1, x2, y2;
};

template <class T>
REFINEDET_HD Box<T> clip(const Box<T>& b, T width, T height) {
  return {clamp(b.x1, T(0), width), clamp(b.y1, T(0), height), clamp(b.x2, T(0), width), clamp(b.y2, T(0), height)};
}

}  // namespace refinedet
