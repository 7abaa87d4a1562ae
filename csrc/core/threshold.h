// Thresholds are double precision numbers, what is compared with them may be float.
#pragma once

#include <cstdint>
#include <cstring>
#include <type_traits>

#include "math.h"

namespace refinedet {

// The largest W that is not above t: a W is greater than t exactly where it is greater than that. NaN stays NaN.
template <class W>
REFINEDET_HD W floor_to(double t) {
  W x = static_cast<W>(t);
  if (static_cast<double>(x) > t) {
    using Bits = std::conditional_t<sizeof(W) == 8, int64_t, int32_t>;
    Bits bits;
    memcpy(&bits, &x, sizeof(bits));
    bits = x > 0 ? bits - 1 : x < 0 ? bits + 1 : static_cast<Bits>(Bits{1} << (8 * sizeof(Bits) - 1)) + 1;
    memcpy(&x, &bits, sizeof(x));
  }
  return x;
}

// The smallest W that is not below t: a W is at least t exactly where it is at least that.
template <class W>
REFINEDET_HD W ceil_to(double t) {
  return -floor_to<W>(-t);
}

}  // namespace refinedet
