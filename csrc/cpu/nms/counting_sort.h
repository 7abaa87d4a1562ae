// Items in the order of their groups: classes of candidates, anchors of candidates.
#pragma once

#include <cstdint>
#include <cstring>

#include "cpu/runtime/level.h"

namespace refinedet::cpu::REFINEDET_CPU_LEVEL {

// starts[g] up to starts[g + 1]: the places of group g among `n` items, group(i) being the group of item i.
template <class Group>
REFINEDET_HD void count_groups(int64_t n, int64_t groups, int32_t* starts, const Group& group) {
  memset(starts, 0, static_cast<size_t>(groups + 1) * sizeof(int32_t));
  for (int64_t i = 0; i < n; ++i) {
    ++starts[group(i) + 1];
  }
  for (int64_t g = 0; g < groups; ++g) {
    starts[g + 1] += starts[g];
  }
}

// Calls put(place, i) for each item in turn, places by group and then in the items' order. `starts` from count_groups.
template <class Group, class Put>
REFINEDET_HD void for_each_place(int64_t n, int64_t groups, int32_t* starts, const Group& group, const Put& put) {
  for (int64_t i = 0; i < n; ++i) {
    put(starts[group(i)]++, i);
  }
  for (int64_t g = groups; g > 0; --g) {  // each start has moved on to the next group's
    starts[g] = starts[g - 1];
  }
  starts[0] = 0;
}

}  // namespace refinedet::cpu::REFINEDET_CPU_LEVEL
