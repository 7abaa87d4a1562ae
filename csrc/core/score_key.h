// Unsigned keys that order scores from the best on.
#pragma once

#include <cstdint>
#include <cstring>

#include "math.h"

namespace refinedet {

template <class W>
struct ScoreKey;
template <>
struct ScoreKey<float> {
  using type = uint32_t;
};
template <>
struct ScoreKey<double> {
  using type = uint64_t;
};

// Rises as the score falls: NaN first, then infinity; -0 and 0 are one, as are all NaN.
template <class W>
REFINEDET_HD typename ScoreKey<W>::type score_key(W score) {
  using Key = typename ScoreKey<W>::type;
  constexpr Key sign = Key{1} << (8 * sizeof(Key) - 1);
  const W canonical = score + W(0);
  Key bits;
  memcpy(&bits, &canonical, sizeof(bits));
  const Key falling = (bits & sign) != 0 ? bits : (sign - 1) - bits;
  return score == score ? falling : Key{0};
}

// The score of a key that did not come from NaN.
template <class W>
REFINEDET_HD W key_score(typename ScoreKey<W>::type key) {
  using Key = typename ScoreKey<W>::type;
  constexpr Key sign = Key{1} << (8 * sizeof(Key) - 1);
  const Key bits = (key & sign) != 0 ? key : (sign - 1) - key;
  W score;
  memcpy(&score, &bits, sizeof(score));
  return score;
}

}  // namespace refinedet
