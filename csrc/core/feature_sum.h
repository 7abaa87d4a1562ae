// The arithmetic of deconv_sum on one element of its maps.
#pragma once

#include "dtype.h"

namespace refinedet {

// up + bias + side, then ReLU with `low` 0, or nothing with -infinity. NaN passes.
template <class T>
REFINEDET_HD T sum_features(Work<T> up, Work<T> bias, T side, Work<T> low) {
  const Work<T> x = up + bias + load(side);
  return round_to<T>(x < low ? low : x);
}

template <class T>
REFINEDET_HD Work<T> lowest_feature(bool relu) {
  return relu ? Work<T>(0) : -static_cast<Work<T>>(__builtin_huge_val());
}

// The gradient where ReLU let the result pass. As in torch it passes where that is NaN.
template <class T>
REFINEDET_HD T relu_gradient(T grad, T out) {
  return load(out) <= 0 ? T{} : grad;
}

}  // namespace refinedet
