// Where the largest losses of an image end: digit by digit of their ranks from the top, the digit of the last one to
// choose is read off a histogram. By blocks of kCutThreads threads.
#pragma once

#include "core/dtype.h"
#include "core/hard_negatives.h"
#include "cuda/primitives/block.h"

namespace refinedet::cuda {

inline constexpr int kCutThreads = 1024;
inline constexpr int kDigitBits = 11;
inline constexpr int kBins = 1 << kDigitBits;

using Histogram = unsigned[kBins];

// The digits of ranks of type R, the highest first.
template <class R>
struct Digits {
  static constexpr int kBits = 8 * sizeof(R);
  static constexpr int kCount = (kBits + kDigitBits - 1) / kDigitBits;

  // The bits below digit `d`.
  REFINEDET_HD static int shift(int d) { return max2(0, kBits - kDigitBits * (d + 1)); }
  REFINEDET_HD static unsigned of(R rank, int d) {
    const int bits = min2(kDigitBits, kBits - kDigitBits * d);
    return static_cast<unsigned>(rank >> shift(d)) & ((1u << bits) - 1);
  }
  // Whether ranks have the same digits before `d`.
  REFINEDET_HD static bool same_before(R a, R b, int d) { return d == 0 || (a ^ b) >> shift(d - 1) == 0; }
};

enum class CutState : int { open, at_least, above };

// What to choose of the candidates, whose ranks are above 0.
template <class R>
struct Cut {
  R rank;
  unsigned quota;
  // open: all ranks whose first digits are higher than those of `rank`, and the `quota` largest of those with the same
  // ones; at_least: ranks from `rank` on; above: ranks above it, and the first `quota` that are equal
  CutState state;
};

struct Counts {
  unsigned positives, candidates;
};

__device__ __forceinline__ uint64_t pack_counts(unsigned positives, unsigned candidates) {
  return uint64_t{positives} << 32 | candidates;
}
__device__ __forceinline__ Counts unpack_counts(uint64_t packed) {
  return {static_cast<unsigned>(packed >> 32), static_cast<unsigned>(packed)};
}

// Before the first digit.
template <class R>
__device__ __forceinline__ Cut<R> first_cut(double ratio, int64_t min_negatives, int64_t anchor_count, Counts counts) {
  const int64_t quota = negatives_quota(ratio, min_negatives, counts.positives, counts.candidates, anchor_count);
  if (quota == 0) {
    return {static_cast<R>(~R(0)), 0, CutState::above};  // nothing
  }
  return {quota == counts.candidates ? R(1) : R(0), static_cast<unsigned>(quota),
          quota == counts.candidates ? CutState::at_least : CutState::open};
}

// An open cut with digit `d` known from the histogram of that digit, which may change again afterwards.
template <class R>
__device__ Cut<R> next_cut(Cut<R> cut, int d, const unsigned* histogram) {
  struct Digit {
    unsigned value, rest, here;
  };
  GPU_SHARED(Digit, picked);
  constexpr int kOwn = kBins / kCutThreads;  // bins of a thread, the first one has the highest
  const int highest = kBins - 1 - kOwn * static_cast<int>(threadIdx.x);
  unsigned sum = 0, total;
  for (int k = 0; k < kOwn; ++k) {
    sum += histogram[highest - k];
  }
  unsigned before = block_exclusive_scan(sum, &total);
  if (before < cut.quota && cut.quota <= before + sum) {
    int bin = highest;
    for (; before + histogram[bin] < cut.quota; --bin) {
      before += histogram[bin];
    }
    picked = {static_cast<unsigned>(bin), cut.quota - before, histogram[bin]};
  }
  __syncthreads();
  const bool last = d == Digits<R>::kCount - 1;
  return {cut.rank | static_cast<R>(R(picked.value) << Digits<R>::shift(d)), picked.rest,
          picked.rest == picked.here ? CutState::at_least
          : last                     ? CutState::above
                                     : CutState::open};
}

// Adds a rank to the histogram of digit `d` if it has the digits found so far.
template <class R>
__device__ __forceinline__ void count_digit(R rank, const Cut<R>& cut, int d, unsigned* histogram) {
  if (rank != 0 && Digits<R>::same_before(rank, cut.rank, d)) {
    atomicAdd(&histogram[Digits<R>::of(rank, d)], 1u);
  }
}

// Zeros, by the whole block; the caller's barrier follows.
__device__ __forceinline__ void clear(unsigned* histogram) {
  for (int i = threadIdx.x; i < kBins; i += kCutThreads) {
    histogram[i] = 0;
  }
}

// chosen[i] for i in [0, count) by whole blocks, where `ties` of the equals come before.
template <class R>
__device__ void choose(const R* ranks, int64_t count, const Cut<R>& cut, unsigned ties, bool* chosen) {
  if (cut.state == CutState::at_least) {  // for the whole block
    for (int64_t i = threadIdx.x; i < count; i += kCutThreads) {
      chosen[i] = ranks[i] >= cut.rank;
    }
  } else {
    for (int64_t start = 0; start < count; start += kCutThreads) {
      const int64_t i = start + threadIdx.x;
      const R rank = i < count ? ranks[i] : R(0);
      const bool tie = rank == cut.rank;
      unsigned here = 0;
      const unsigned before = ties < cut.quota ? ties + block_exclusive_scan(unsigned{tie}, &here) : cut.quota;
      if (i < count) {
        chosen[i] = rank > cut.rank || (tie && before < cut.quota);
      }
      ties += here;
    }
  }
}

}  // namespace refinedet::cuda
