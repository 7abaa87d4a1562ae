// Stable sorting of (key, index) pairs by unsigned keys, digit by digit.
#pragma once

#include <cstdint>
#include <cstring>

#include "core/score_key.h"
#include "cpu/runtime/level.h"

namespace refinedet::cpu {

namespace REFINEDET_CPU_LEVEL {

template <class Key>
struct Keyed {
  Key key;
  uint32_t index;
};

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

}  // namespace REFINEDET_CPU_LEVEL
}  // namespace refinedet::cpu
