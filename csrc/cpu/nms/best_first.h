// The best of a list of scores in order: one distribution over bins of equal width between the best and the worst key,
// of which the first ones hold all that is wanted, each but a few items.
#pragma once

#include "radix_sort.h"

namespace refinedet::cpu::REFINEDET_CPU_LEVEL {

inline constexpr int kMostBinBits = 11;
inline constexpr int64_t kBinCounters = (int64_t{1} << kMostBinBits) + 1;
inline constexpr uint32_t kCrowd = 64;  // items of a bin that are too many to be sorted by insertion

// Keys in bins of equal width, and how many of the bins hold the best ones.
template <class Key>
struct Bins {
  Key low;
  int shift;
  int64_t last;    // the bins up to this one hold
  int64_t within;  // so many keys, at least as many as were asked for
  bool crowded;    // one of these has more than kCrowd of them

  REFINEDET_HD int64_t of(Key key) const { return static_cast<int64_t>((key - low) >> shift); }
  // The largest key of those bins.
  REFINEDET_HD Key most() const { return low + ((static_cast<Key>(last + 1) << shift) - 1); }
};

template <class W>
REFINEDET_HD void make_keys(const W* __restrict scores, int64_t n, typename ScoreKey<W>::type* __restrict keys) {
  for (int64_t i = 0; i < n; ++i) {
    keys[i] = score_key(scores[i]);
  }
}

// Bins for the k best of n keys, 1 <= k <= n; counts[b] is the number of keys in bin b, for all bins.
template <class Key>
Bins<Key> make_bins(const Key* keys, int64_t n, int64_t k, uint32_t* counts) {
  Key low = keys[0], high = low;
  for (int64_t i = 1; i < n; ++i) {
    low = min2(low, keys[i]);
    high = max2(high, keys[i]);
  }
  const int bits = low == high ? 0 : 64 - __builtin_clzll(static_cast<uint64_t>(high - low));
  const int wanted = static_cast<int>(min2<int64_t>(kMostBinBits, 64 - __builtin_clzll(static_cast<uint64_t>(n))));
  Bins<Key> bins{low, max2(0, bits - wanted), 0, 0, false};
  memset(counts, 0, static_cast<size_t>(bins.of(high) + 1) * sizeof(uint32_t));
  for (int64_t i = 0; i < n; ++i) {
    ++counts[bins.of(keys[i])];
  }
  uint32_t most = counts[0];
  for (bins.within = most; bins.within < k; bins.within += counts[bins.last]) {
    most = max2(most, counts[++bins.last]);
  }
  bins.crowded = most > kCrowd;
  return bins;
}

// The items of n keys that lie in the bins up to the last one, bin by bin; `out` has room for one item more. The counts
// are spent.
template <class Key>
void distribute(const Key* keys, int64_t n, const Bins<Key>& bins, uint32_t* counts, Keyed<Key>* out) {
  uint32_t place = 0;
  for (int64_t b = 0; b <= bins.last; ++b) {
    const uint32_t count = counts[b];
    counts[b] = place;
    place += count;
  }
  counts[bins.last + 1] = place;  // all others are written there, one over the other: no branch
  for (int64_t i = 0; i < n; ++i) {
    const int64_t bin = min2(bins.of(keys[i]), bins.last + 1);
    const uint32_t at = counts[bin];
    out[at] = {keys[i], static_cast<uint32_t>(i)};
    counts[bin] = at + (bin <= bins.last ? 1 : 0);
  }
}

// Sorts by key, equal ones by before(index, index).
template <class Key, class Before>
REFINEDET_HD void insertion_sort(Keyed<Key>* items, int64_t n, const Before& before) {
  for (int64_t i = 1; i < n; ++i) {
    const Keyed<Key> item = items[i];
    int64_t at = i;
    for (; at > 0; --at) {
      const Keyed<Key> other = items[at - 1];
      if (!(item.key < other.key || (item.key == other.key && before(item.index, other.index)))) {
        break;
      }
      items[at] = other;
    }
    items[at] = item;
  }
}

}  // namespace refinedet::cpu::REFINEDET_CPU_LEVEL
