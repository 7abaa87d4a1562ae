// Softmax, and tests on logits that stand for tests on its values.
#pragma once

#include "math.h"

namespace refinedet {

// e^x for x <= 0, with 0 below the range of exp_bounded; NaN gives NaN.
REFINEDET_HD float exp_negative(float x) { return x < -87.0f ? 0.0f : exp_bounded(max2(-87.0f, x)); }
REFINEDET_HD double exp_negative(double x) { return exp(x); }

// Where no foreground logit is above the background's by at least log(t / (1 - t)), no foreground value of the softmax
// is greater than t. Taken for a t that is lower by a thousandth, far more than what rounding can do.
REFINEDET_HD double reach_of(double t) {
  const double inf = __builtin_huge_val(), lower = t * (1 - 1e-3);
  return t <= 0 ? -inf : lower >= 1 ? inf : log(lower) - log1p(-lower);
}

// softmax(logits)[0] <= theta  <=>  logits[1] - logits[0] >= log((1 - theta) / theta): no exponential per anchor.
REFINEDET_HD double filter_threshold(double theta) {
  const double inf = __builtin_huge_val();
  return theta >= 1 ? -inf : theta <= 0 ? inf : log1p(-theta) - log(theta);
}

// The test of negative anchor filtering (RefineDet, section 3.2) on an anchor's two logits; false with NaN.
template <class W>
REFINEDET_HD bool keeps_anchor(W background, W object, W threshold) {
  return object - background >= threshold;
}

}  // namespace refinedet
