// Ordering (key, index) pairs by unsigned keys, the smallest first: all of them, the best of them in order, or the best
// of them as they stand.
#pragma once

#include <cstdint>
#include <cstring>

#include "core/score_key.h"
#include "cpu/runtime/level.h"

namespace refinedet::cpu::REFINEDET_CPU_LEVEL {

template <class Key>
struct Keyed {
  Key key;
  uint32_t index;
};

// ---------------------------------------------------------------- all: stable, digit by digit
namespace radix {

inline constexpr int64_t kMaxThreads = 16;
inline constexpr int64_t kGrain = 32768;  // items per thread and pass

template <class Key, int kBits>
REFINEDET_HD void sort(Keyed<Key>*& items, Keyed<Key>*& spare, int64_t n, int key_bits, uint32_t* counts,
                       const ParallelFor& parallel) {
  constexpr int64_t kBins = int64_t{1} << kBits;
  const int64_t parts = max2<int64_t>(1, min2(min2(parallel.threads(), kMaxThreads), n / kGrain));
  for (int shift = 0; shift < key_bits; shift += kBits) {
    const Keyed<Key>* __restrict from = items;
    Keyed<Key>* __restrict to = spare;
    const auto digit = [=](Key key) { return static_cast<int64_t>((key >> shift) & Key{kBins - 1}); };
    parallel(parts, 1, [=](int64_t begin, int64_t end) {
      for (int64_t part = begin; part < end; ++part) {
        uint32_t* __restrict mine = counts + part * kBins;
        memset(mine, 0, kBins * sizeof(uint32_t));
        for (int64_t i = part * n / parts; i < (part + 1) * n / parts; ++i) {
          ++mine[digit(from[i].key)];
        }
      }
    });
    uint32_t place = 0;
    bool one_digit = false;
    for (int64_t bin = 0; bin < kBins; ++bin) {
      const uint32_t first = place;
      for (int64_t part = 0; part < parts; ++part) {
        const uint32_t count = counts[part * kBins + bin];
        counts[part * kBins + bin] = place;
        place += count;
      }
      one_digit |= place - first == n;
    }
    if (one_digit) {
      continue;
    }
    parallel(parts, 1, [=](int64_t begin, int64_t end) {
      for (int64_t part = begin; part < end; ++part) {
        uint32_t* __restrict next = counts + part * kBins;
        for (int64_t i = part * n / parts; i < (part + 1) * n / parts; ++i) {
          to[next[digit(from[i].key)]++] = from[i];
        }
      }
    });
    Keyed<Key>* const sorted = spare;
    spare = items;
    items = sorted;
  }
}

}  // namespace radix

// How many counters a sort of n items needs.
REFINEDET_HD int64_t radix_counters(int64_t n) {
  return n < 2 * 1024 ? 256 : 2048 * max2<int64_t>(1, min2(radix::kMaxThreads, n / radix::kGrain));
}

// By the low `key_bits` bits of the keys, n below 2^31. The result lies in `items`, which may trade places with
// `spare`, room for as many.
template <class Key>
REFINEDET_HD void radix_sort(Keyed<Key>*& items, Keyed<Key>*& spare, int64_t n, int key_bits, uint32_t* counters,
                             const ParallelFor& parallel) {
  if (n < 2 * 1024) {
    radix::sort<Key, 8>(items, spare, n, key_bits, counters, parallel);
  } else {
    radix::sort<Key, 11>(items, spare, n, key_bits, counters, parallel);
  }
}

// ---------------------------------------------------------------- the best in order
// One distribution over bins of equal width between the best and the worst key, of which the first ones hold all that
// is wanted, each but a few items.
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

// The items of n keys that lie in the bins up to the last one, bin by bin; `out` has room for one item more. `counts`
// is overwritten.
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

// ---------------------------------------------------------------- the best as they stand
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
