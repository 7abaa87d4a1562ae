// Items in the order of their classes.
#pragma once

#include "radix_sort.h"
#include "suppression.h"

namespace refinedet::cpu::REFINEDET_CPU_LEVEL {

// starts[c] up to starts[c + 1]: the places of class c among `n` items, label(i) being the class of item i.
template <class Label>
REFINEDET_HD void count_classes(int64_t n, int64_t classes, int32_t* starts, const Label& label) {
  memset(starts, 0, static_cast<size_t>(classes + 1) * sizeof(int32_t));
  for (int64_t i = 0; i < n; ++i) {
    ++starts[label(i) + 1];
  }
  for (int64_t c = 0; c < classes; ++c) {
    starts[c + 1] += starts[c];
  }
}

// Calls put(place, i) for each item in turn, places by class and then in the items' order.
template <class Label, class Put>
REFINEDET_HD void for_each_place(int64_t n, int64_t classes, int32_t* starts, const Label& label, const Put& put) {
  for (int64_t i = 0; i < n; ++i) {
    put(starts[label(i)]++, i);
  }
  for (int64_t c = classes; c > 0; --c) {  // each start has moved on to the next class's
    starts[c] = starts[c - 1];
  }
  starts[0] = 0;
}

// Brings items of candidates to `out`, class by class in their order, and fills `starts`.
template <class W, class Item>
void group_by_class(const Candidates<W>& from, const Item* items, int64_t n, int64_t classes, int32_t* starts,
                    Item* out) {
  const auto label = [&](int64_t i) { return from.labels[items[i].index]; };
  count_classes(n, classes, starts, label);
  for_each_place(n, classes, starts, label, [&](int64_t place, int64_t i) { out[place] = items[i]; });
}

}  // namespace refinedet::cpu::REFINEDET_CPU_LEVEL
