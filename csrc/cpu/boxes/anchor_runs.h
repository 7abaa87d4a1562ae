// Walking over rows that share anchors.
#pragma once

#include "core/box_io.h"

namespace refinedet::cpu {

// f(row, anchor, run): `run` rows from `row` on have anchors from `anchor` on, without a modulo inside the loop.
template <class F>
REFINEDET_HD void for_anchor_runs(int64_t begin, int64_t end, int64_t anchor_count, const F& f) {
  for (int64_t row = begin; row < end;) {
    const int64_t anchor = row % anchor_count;
    const int64_t run = min2(end - row, anchor_count - anchor);
    f(row, anchor, run);
    row += run;
  }
}

// Rows per task of element-wise box work: a few microseconds.
inline constexpr int64_t kBoxGrain = 4096;

}  // namespace refinedet::cpu
