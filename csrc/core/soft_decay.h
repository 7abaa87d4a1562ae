// By what soft non-maximum suppression multiplies the score of a box that overlaps a picked one (Bodla et al. 2017).
#pragma once

#include "math.h"

namespace refinedet {

// V: a number W, or a register full of them.
template <class W>
struct LinearDecay {
  W threshold;  // of IouTest

  template <class V>
  REFINEDET_HD V operator()(const V& iou) const {
    const V one = V{} + W(1);
    return iou > threshold ? one - iou : one;
  }
};

template <class W>
struct GaussianDecay {
  W sigma;

  REFINEDET_HD explicit GaussianDecay(double s) : sigma(max2(static_cast<W>(s), W(1e-37))) {}  // so that 0 / sigma is 0

  template <class V>
  REFINEDET_HD V exponent(const V& iou) const {
    return -(iou * iou) / sigma;
  }

  // e^x for an exponent, 0 below the range of exp_bounded.
  REFINEDET_HD static W exp(W x) {
    const W factor = exp_bounded(max2(x, W(-87)));
    return x < W(-87) ? W(0) : factor;
  }

  REFINEDET_HD W operator()(W iou) const { return exp(exponent(iou)); }
};

}  // namespace refinedet
