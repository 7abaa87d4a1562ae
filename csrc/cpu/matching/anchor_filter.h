// Negative anchor filtering over a list of anchors, shared by filter_anchors and detect.
#pragma once

#include "core/dtype.h"
#include "core/softmax.h"
#include "cpu/simd/flags.h"

namespace refinedet::cpu::REFINEDET_CPU_LEVEL {

// keep[i] = 1 where keeps_anchor, else 0.
template <class T>
REFINEDET_HD void test_anchors(const T* logits, int64_t n, Accumulate<T> threshold, uint8_t* keep) {
  for (int64_t i = 0; i < n; ++i) {
    keep[i] = keeps_anchor(load(logits[2 * i]), load(logits[2 * i + 1]), threshold) ? 1 : 0;
  }
}

// Tests n anchors and writes the kept ones, ascending, to `index`, which has room for n; returns their number.
template <class T, class Index>
REFINEDET_HD int64_t kept_anchors(const T* logits, int64_t n, Accumulate<T> threshold, Index* index) {
  constexpr int64_t kPiece = 1024, kWord = 64, kMany = 24;
  uint8_t keep[kPiece];
  int64_t kept = 0;
  for (int64_t first = 0; first < n; first += kPiece) {
    const int64_t some = min2(kPiece, n - first);
    test_anchors(logits + 2 * first, some, threshold, keep);
    memset(keep + some, 0, static_cast<size_t>((kWord - some % kWord) % kWord));
    for (int64_t at = 0; at < some; at += kWord) {
      uint64_t bits = flag_bits(keep + at);
      if (__builtin_popcountll(bits) > kMany) {
        for (int64_t i = at; i < min2(at + kWord, some); ++i) {
          index[kept] = static_cast<Index>(first + i);  // overwritten by the next unless this one is kept: no branch
          kept += keep[i];
        }
        continue;
      }
      for (; bits != 0; bits &= bits - 1) {
        index[kept++] = static_cast<Index>(first + at + __builtin_ctzll(bits));
      }
    }
  }
  return kept;
}

}  // namespace refinedet::cpu::REFINEDET_CPU_LEVEL
