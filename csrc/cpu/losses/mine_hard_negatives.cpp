#include "ops/mine_hard_negatives.h"

#include "core/hard_negatives.h"
#include "cpu/runtime/buffer.h"
#include "cpu/runtime/level.h"

namespace refinedet::cpu::REFINEDET_CPU_LEVEL {
namespace {

struct Counts {
  int64_t positives, candidates;
};

// Writes the ranks of the anchors that may be chosen, 0 for the others. `may(i)` is 0 or 1.
template <class T, class R, class May>
REFINEDET_HD Counts rank_candidates(const T* __restrict loss, const int64_t* __restrict labels, const May& may,
                                    int64_t n, R* __restrict ranks) {
  int64_t positives = 0, candidates = 0;
  for (int64_t i = 0; i < n; ++i) {
    const int64_t candidate = (labels[i] == 0) & may(i);
    const R rank = loss_rank(load(loss[i]));
    positives += labels[i] > 0;
    candidates += candidate;
    ranks[i] = rank & (R(0) - static_cast<R>(candidate));
  }
  return {positives, candidates};
}

// What to choose: all ranks above `rank`, and the first `ties` of the `equals` that have it.
template <class R>
struct Cut {
  R rank;
  int64_t ties, equals;
};

// Moves the ranks that `keep` is true for to the front of `to`, which may be `from` itself; how many they are.
template <class R, class Keep>
REFINEDET_HD int64_t compact(const R* from, int64_t n, R* to, const Keep& keep) {
  int64_t kept = 0;
  for (int64_t i = 0; i < n; ++i) {
    const R rank = from[i];
    to[kept] = rank;  // without a branch: overwritten by the next where it is not kept
    kept += keep(rank);
  }
  return kept;
}

// Where the `quota` largest of `n` ranks end, of which `candidates` are above 0; 0 < quota <= candidates. Digit by
// digit from the top, the digit of the last rank to choose is read off a histogram, and only the ranks with that digit
// go on to the next one. `list` has room for n.
template <class R>
REFINEDET_HD Cut<R> find_cut(const R* ranks, int64_t n, int64_t candidates, int64_t quota, R* list) {
  constexpr int kDigitBits = 11;
  uint32_t histogram[2][1 << kDigitBits];  // two, because neighbors often have the same digit
  if (2 * candidates < n) {
    n = compact(ranks, n, list, [](R rank) { return rank != 0; });
    ranks = list;
  }
  R found = 0;
  for (int left = 8 * sizeof(R); left > 0;) {
    const int bits = min2(kDigitBits, left);
    left -= bits;
    const auto digit_of = [=](R rank) { return (rank >> left) & ((R(1) << bits) - 1); };
    memset(histogram, 0, sizeof(histogram));
    for (int64_t i = 0; i + 1 < n; i += 2) {
      ++histogram[0][digit_of(ranks[i])];
      ++histogram[1][digit_of(ranks[i + 1])];
    }
    if (n % 2 == 1) {
      ++histogram[0][digit_of(ranks[n - 1])];
    }
    R digit = digit_of(~R(0));
    for (int64_t here; (here = int64_t{histogram[0][digit]} + histogram[1][digit]) < quota; --digit) {
      quota -= here;
    }
    n = compact(ranks, n, list, [=](R rank) { return digit_of(rank) == digit; });
    ranks = list;
    found |= digit << left;
  }
  return {found, quota, n};
}

template <class R>
REFINEDET_HD void choose(const R* __restrict ranks, int64_t n, const Cut<R>& cut, bool* __restrict chosen) {
  const R rank = cut.rank;
  const bool all_ties = cut.ties == cut.equals;
  for (int64_t i = 0; i < n; ++i) {
    chosen[i] = (ranks[i] > rank) | (all_ties & (ranks[i] == rank));
  }
  for (int64_t i = 0, ties = all_ties ? 0 : cut.ties; ties > 0; ++i) {
    if (ranks[i] == rank) {
      chosen[i] = true;
      --ties;
    }
  }
}

}  // namespace
}  // namespace refinedet::cpu::REFINEDET_CPU_LEVEL

namespace refinedet::cpu {

using namespace REFINEDET_CPU_LEVEL;

template <>
void kernel<kLevel>(const MineHardNegativesArgs& args, const ParallelFor& parallel) {
  dispatch_floating(args.dtype, [&]<class T>(Tag<T>) {
    using R = LossRank<Accumulate<T>>;
    const int64_t n = args.anchor_count;
    // each thread has its share of the images and scratch memory of its own
    constexpr int64_t kWorthThreads = 1 << 15;
    const int64_t shares = args.batch * n < kWorthThreads ? 1 : min2(parallel.threads(), args.batch);
    Buffer<R> scratch(2 * n * shares);
    parallel(shares, 1, [&](int64_t begin, int64_t end) {
      for (int64_t share = begin; share < end; ++share) {
        R* ranks = scratch.data() + 2 * n * share;
        for (int64_t b = args.batch * share / shares; b < args.batch * (share + 1) / shares; ++b) {
          const T* loss = static_cast<const T*>(args.loss) + b * n;
          const int64_t* labels = args.labels + b * n;
          // bytes, because loads of bool do not vectorize
          const uint8_t* eligible = reinterpret_cast<const uint8_t*>(args.eligible) + (args.eligible ? b * n : 0);
          const Counts counts = args.eligible != nullptr
                                    ? rank_candidates(
                                          loss, labels, [=](int64_t i) { return int64_t{eligible[i]}; }, n, ranks)
                                    : rank_candidates(loss, labels, [](int64_t) { return int64_t{1}; }, n, ranks);
          const int64_t quota = negatives_quota(args.ratio, args.min_negatives, counts.positives, counts.candidates, n);
          // no candidate has rank 0: a cut at 1 takes every candidate, one at the highest rank none
          Cut<R> cut = {quota == 0 ? static_cast<R>(~R(0)) : R(1), 0, quota == 0};
          if (quota > 0 && quota < counts.candidates) {
            cut = find_cut(ranks, n, counts.candidates, quota, ranks + n);
          }
          choose(ranks, n, cut, args.chosen + b * n);
        }
      }
    });
  });
}

}  // namespace refinedet::cpu
