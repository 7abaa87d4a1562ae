// The smooth L1 distance (Girshick 2015, Fast R-CNN, eq. 3) of coded boxes.
#pragma once

#include "row_maps.h"

namespace refinedet {

// Quadratic below `beta`, which may be 0; NaN gives NaN.
template <class W>
REFINEDET_HD W smooth_l1(W z, W beta) {
  const W size = z < W(0) ? -z : z;
  return size < beta ? W(0.5) * z * z / beta : size - W(0.5) * beta;
}

template <class W>
REFINEDET_HD W smooth_l1_gradient(W z, W beta) {
  const W size = z < W(0) ? -z : z;
  const W sign = z > W(0) ? W(1) : z < W(0) ? W(-1) : z;  // NaN and 0 as they are
  return size < beta ? z / beta : sign;
}

// deltas, boxes, anchors -> the distances of the deltas from those that the boxes ask for, or their slopes
template <class W, bool slope>
struct SmoothL1Row {
  Delta<W> variance;
  W beta;

  REFINEDET_HD void operator()(const Quad<W>* in, Quad<W>* out) const {
    const Delta<W> target = encode<W>(in[1], in[2], variance);
    out[0] = {one(in[0].x - target.x), one(in[0].y - target.y), one(in[0].z - target.w), one(in[0].w - target.h)};
  }

 private:
  REFINEDET_HD W one(W z) const { return slope ? smooth_l1_gradient(z, beta) : smooth_l1(z, beta); }
};

}  // namespace refinedet
