// The rules of hard negative mining.
#pragma once

#include "score_key.h"

namespace refinedet {

template <class W>
using LossRank = typename ScoreKey<W>::type;

// A whole number above 0 that rises with the loss: -0 as +0, NaN above all.
template <class W>
REFINEDET_HD LossRank<W> loss_rank(W loss) {
  return ~score_key(loss);
}

// How many of an image's `candidates` are chosen; it has `count` anchors.
REFINEDET_HD int64_t negatives_quota(double ratio, int64_t min_negatives, int64_t positives, int64_t candidates,
                                     int64_t count) {
  const double wanted = ratio * static_cast<double>(positives);
  const int64_t quota = wanted < static_cast<double>(count) ? static_cast<int64_t>(wanted) : count;
  return min2(max2(quota, min_negatives), candidates);
}

}  // namespace refinedet
