// The k smallest keys of a list without sorting it.
#pragma once

#include "radix_sort.h"

namespace refinedet::cpu::REFINEDET_CPU_LEVEL {

inline constexpr int kSelectBits = 10;
inline constexpr int64_t kSelectCounters = int64_t{1} << kSelectBits;

// The k-th smallest key of n items, 1 <= k <= n: counts the keys in bins of equal width between the smallest and the
// largest, and goes on with the bin that holds the k-th. `spare` has room for n items, `counters` for kSelectCounters.
template <class Key>
Key kth_key(const Keyed<Key>* items, int64_t n, int64_t k, Keyed<Key>* spare, uint32_t* counters) {
  for (;;) {
    Key low = items[0].key, high = low;
    for (int64_t i = 1; i < n; ++i) {
      low = min2(low, items[i].key);
      high = max2(high, items[i].key);
    }
    if (low == high) {
      return low;
    }
    const int bits = 64 - __builtin_clzll(static_cast<uint64_t>(high - low));
    const int shift = max2(0, bits - kSelectBits);
    memset(counters, 0, kSelectCounters * sizeof(uint32_t));
    for (int64_t i = 0; i < n; ++i) {
      ++counters[(items[i].key - low) >> shift];
    }
    Key bin = 0;
    while (k > counters[bin]) {
      k -= counters[bin++];
    }
    if (shift == 0) {
      return low + bin;
    }
    int64_t in_bin = 0;
    for (int64_t i = 0; i < n; ++i) {
      const Keyed<Key> item = items[i];
      if ((item.key - low) >> shift == bin) {
        spare[in_bin++] = item;  // never overtakes i where items and spare are one
      }
    }
    items = spare;
    n = in_bin;
  }
}

// Moves the k best items (those with the smallest keys) to the front in their order and returns how many there are. Of
// those that tie with the k-th the first ones are taken, or with `all_ties` all, which makes it more than k.
template <class Key>
int64_t select_best(Keyed<Key>* items, int64_t n, int64_t k, bool all_ties, Keyed<Key>* spare, uint32_t* counters) {
  if (k >= n) {
    return n;
  }
  const Key last = kth_key(items, n, k, spare, counters);
  int64_t ties = n;
  if (!all_ties) {
    ties = k;
    for (int64_t i = 0; i < n; ++i) {
      ties -= items[i].key < last;
    }
  }
  int64_t count = 0;
  for (int64_t i = 0; i < n; ++i) {
    const Keyed<Key> item = items[i];
    items[count] = item;
    const bool tie = item.key == last;
    count += (item.key < last) | (tie & (ties > 0));
    ties -= tie;
  }
  return count;
}

}  // namespace refinedet::cpu::REFINEDET_CPU_LEVEL
