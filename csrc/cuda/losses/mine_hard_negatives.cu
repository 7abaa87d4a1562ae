// Floor, at B=32 and A=16320 in float32: 8 bytes of label and 4 of loss an anchor read, one written: 6.8 MB, 1.6 us.
// That is less than a launch takes, so that it is one launch, a block per image, for as long as the ranks of an image
// fit into its shared memory (32,768 in float32 where the GPU has as much, 22,784 on sm_86 and sm_89): 212 KB through
// one multiprocessor are 2 us, a histogram of 16,320 ranks and the search for its digit 2 us, and the two further
// digits, of the few that are left, half of that each. Expected: 8 us.
//
// Beyond that a block per kChunk anchors, the ranks in memory, and a launch per digit, since all blocks must have
// counted before the next digit is known; each block reads that off the image's histogram itself. At A=1,000,000: 13
// bytes an anchor once, 4 written and 4 read per digit and to choose, 33 MB or 8 us, in 6 launches of 2 us. Expected:
// 20 us.
#include "core/hard_negatives.h"
#include "cuda/primitives/block.h"
#include "cuda/primitives/workspace.h"
#include "ops/mine_hard_negatives.h"

namespace refinedet::cuda {
namespace {

// ---------------------------------------------------------------- the cut
// Where the largest losses of an image end: digit by digit of their ranks from the top, the digit of the last one to
// choose is read off a histogram. By blocks of kCutThreads threads.
constexpr int kCutThreads = 1024;
constexpr int kDigitBits = 11;
constexpr int kBins = 1 << kDigitBits;

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

// ---------------------------------------------------------------- the kernels
constexpr int64_t kSharedRanks = 128 << 10;  // bytes of ranks in shared memory, where the GPU has as much
constexpr int64_t kOtherShared = int64_t{sizeof(Histogram)} + 1024;  // what mine_image_kernel has of it besides
constexpr int64_t kChunk = 4 * kCutThreads;

// f(i, rank) for the anchors [begin, end) of an image, by the whole block; what this thread has seen of them. The rank
// is 0 where the anchor is no candidate.
template <class T, class F>
__device__ Counts for_ranks(const MineHardNegativesArgs& args, int64_t image, int64_t begin, int64_t end, const F& f) {
  constexpr int kAhead = 4;  // loads of a thread at once
  const int64_t row = image * args.anchor_count;
  const T* loss = static_cast<const T*>(args.loss) + row;
  Counts counts = {0, 0};
  for (int64_t start = begin; start < end; start += kAhead * kCutThreads) {
    T losses[kAhead];
    int64_t labels[kAhead];
    bool eligible[kAhead];
    GPU_UNROLL
    for (int k = 0; k < kAhead; ++k) {
      const int64_t i = start + k * kCutThreads + threadIdx.x;
      losses[k] = T{};
      labels[k] = -1;
      eligible[k] = false;
      if (i < end) {
        losses[k] = loss[i];
        labels[k] = args.labels[row + i];
        eligible[k] = args.eligible == nullptr || args.eligible[row + i];
      }
    }
    GPU_UNROLL
    for (int k = 0; k < kAhead; ++k) {
      const int64_t i = start + k * kCutThreads + threadIdx.x;
      const bool candidate = labels[k] == 0 && eligible[k];
      counts.positives += labels[k] > 0;
      counts.candidates += candidate;
      if (i < end) {
        f(i, candidate ? loss_rank(load(losses[k])) : 0);
      }
    }
  }
  return counts;
}

template <class T>
__global__ void __launch_bounds__(kCutThreads) mine_image_kernel(MineHardNegativesArgs args) {
  using R = LossRank<Accumulate<T>>;
  GPU_DYNAMIC_SHARED(R, ranks);
  GPU_SHARED(Histogram, histogram);
  const int64_t image = blockIdx.x, n = args.anchor_count;
  clear(histogram);
  __syncthreads();
  const Counts own = for_ranks<T>(args, image, 0, n, [&](int64_t i, R rank) {
    ranks[i] = rank;
    count_digit(rank, Cut<R>{}, 0, histogram);
  });
  uint64_t total;
  block_exclusive_scan(pack_counts(own.positives, own.candidates), &total);  // its barriers end the counting too
  Cut<R> cut = first_cut<R>(args.ratio, args.min_negatives, n, unpack_counts(total));
  for (int d = 0; cut.state == CutState::open; ++d) {
    if (d > 0) {
      clear(histogram);
      __syncthreads();
      for (int64_t i = threadIdx.x; i < n; i += kCutThreads) {
        count_digit(ranks[i], cut, d, histogram);
      }
      __syncthreads();
    }
    cut = next_cut(cut, d, histogram);
  }
  choose(ranks, n, cut, 0, args.chosen + image * n);
}

// ---------------------------------------------------------------- images of many anchors
template <class R>
struct Memory {
  R* ranks;           // (batch, anchor_count)
  Histogram* digits;  // (batch, Digits<R>::kCount), zero at first, as are the counts
  uint64_t* counts;   // (batch,) as pack_counts
  size_t zero_bytes;  // from `digits` on
  Cut<R>* cuts;       // (batch, Digits<R>::kCount + 1): before each digit, and the last
  unsigned* ties;     // (batch, chunks)

  Memory(const MineHardNegativesArgs& args, Workspace& workspace) {
    ranks = workspace.take<R>(args.batch * args.anchor_count);
    const int64_t start = workspace.bytes();
    digits = workspace.take<Histogram>(args.batch * Digits<R>::kCount);
    counts = workspace.take<uint64_t>(args.batch);
    zero_bytes = static_cast<size_t>(workspace.bytes() - start);
    cuts = workspace.take<Cut<R>>(args.batch * (Digits<R>::kCount + 1));
    ties = workspace.take<unsigned>(args.batch * chunks(args));
  }
  static int64_t chunks(const MineHardNegativesArgs& args) { return divide_up(args.anchor_count, kChunk); }
};

// The block's share of an image.
struct Chunk {
  int64_t image, number, begin, end;

  __device__ Chunk(int64_t anchor_count, unsigned chunks)
      : image(blockIdx.x / chunks),
        number(blockIdx.x % chunks),
        begin(number * kChunk),
        end(min2(begin + kChunk, anchor_count)) {}
};

// Adds the block's histogram to the image's, after a barrier.
__device__ __forceinline__ void add_histogram(const unsigned* histogram, unsigned* to) {
  for (int i = threadIdx.x; i < kBins; i += kCutThreads) {
    if (histogram[i] != 0) {
      atomicAdd(&to[i], histogram[i]);
    }
  }
}

template <class T, class R>
__global__ void __launch_bounds__(kCutThreads)
    rank_kernel(MineHardNegativesArgs args, unsigned chunks, Memory<R> memory) {
  GPU_SHARED(Histogram, histogram);
  const Chunk chunk(args.anchor_count, chunks);
  clear(histogram);
  __syncthreads();
  R* const ranks = memory.ranks + chunk.image * args.anchor_count;
  const Counts own = for_ranks<T>(args, chunk.image, chunk.begin, chunk.end, [&](int64_t i, R rank) {
    ranks[i] = rank;
    count_digit(rank, Cut<R>{}, 0, histogram);
  });
  uint64_t total;
  block_exclusive_scan(pack_counts(own.positives, own.candidates), &total);
  if (threadIdx.x == 0) {
    atomicAdd(reinterpret_cast<unsigned long long*>(memory.counts + chunk.image), total);
  }
  add_histogram(histogram, memory.digits[chunk.image * Digits<R>::kCount]);
}

// The cut with digit `d` known, which the image's first block leaves for the next launch.
template <class R>
__device__ Cut<R> advance(const MineHardNegativesArgs& args, const Memory<R>& memory, const Chunk& chunk, int d) {
  Cut<R>* const cuts = memory.cuts + chunk.image * (Digits<R>::kCount + 1);
  const Cut<R> known = d == 0 ? first_cut<R>(args.ratio, args.min_negatives, args.anchor_count,
                                             unpack_counts(memory.counts[chunk.image]))
                              : cuts[d];
  const Cut<R> cut =
      known.state == CutState::open ? next_cut(known, d, memory.digits[chunk.image * Digits<R>::kCount + d]) : known;
  if (chunk.number == 0 && threadIdx.x == 0) {
    cuts[d + 1] = cut;
  }
  return cut;
}

// Finds digit d - 1 and counts digit `d`.
template <class R>
__global__ void __launch_bounds__(kCutThreads)
    digit_kernel(MineHardNegativesArgs args, unsigned chunks, Memory<R> memory, int d) {
  GPU_SHARED(Histogram, histogram);
  const Chunk chunk(args.anchor_count, chunks);
  const Cut<R> cut = advance(args, memory, chunk, d - 1);
  if (cut.state == CutState::open) {  // for the whole block
    clear(histogram);
    __syncthreads();
    const R* const ranks = memory.ranks + chunk.image * args.anchor_count;
    for (int64_t i = chunk.begin + threadIdx.x; i < chunk.end; i += kCutThreads) {
      count_digit(ranks[i], cut, d, histogram);
    }
    __syncthreads();
    add_histogram(histogram, memory.digits[chunk.image * Digits<R>::kCount + d]);
  }
}

// Finds the last digit and counts the ranks that are equal to the cut, where only some of them are chosen.
template <class R>
__global__ void __launch_bounds__(kCutThreads)
    tie_kernel(MineHardNegativesArgs args, unsigned chunks, Memory<R> memory) {
  const Chunk chunk(args.anchor_count, chunks);
  const Cut<R> cut = advance(args, memory, chunk, Digits<R>::kCount - 1);
  if (cut.state == CutState::above) {  // for the whole block
    const R* const ranks = memory.ranks + chunk.image * args.anchor_count;
    unsigned own = 0, total;
    for (int64_t i = chunk.begin + threadIdx.x; i < chunk.end; i += kCutThreads) {
      own += ranks[i] == cut.rank;
    }
    block_exclusive_scan(own, &total);
    if (threadIdx.x == 0) {
      memory.ties[blockIdx.x] = total;
    }
  }
}

template <class R>
__global__ void __launch_bounds__(kCutThreads)
    choose_kernel(MineHardNegativesArgs args, unsigned chunks, Memory<R> memory) {
  const Chunk chunk(args.anchor_count, chunks);
  const Cut<R> cut = memory.cuts[chunk.image * (Digits<R>::kCount + 1) + Digits<R>::kCount];
  unsigned ties = 0;
  if (cut.state == CutState::above) {  // for the whole block
    unsigned own = 0;
    for (int64_t i = threadIdx.x; i < chunk.number; i += kCutThreads) {
      own += memory.ties[chunk.image * chunks + i];
    }
    block_exclusive_scan(own, &ties);
  }
  const int64_t at = chunk.image * args.anchor_count + chunk.begin;
  choose(memory.ranks + at, chunk.end - chunk.begin, cut, ties, args.chosen + at);
}

template <class T, class R>
void mine_large_images(const MineHardNegativesArgs& args, void* workspace, Stream stream) {
  Workspace pieces(workspace);
  const Memory<R> memory(args, pieces);
  fill_zero(memory.digits, memory.zero_bytes, stream);
  const auto chunks = static_cast<unsigned>(Memory<R>::chunks(args));
  const dim3 grid(static_cast<unsigned>(args.batch * chunks)), block(kCutThreads);
  launch("mine_hard_negatives, ranks", rank_kernel<T, R>, grid, block, 0, stream, args, chunks, memory);
  for (int d = 1; d < Digits<R>::kCount; ++d) {
    launch("mine_hard_negatives, digit", digit_kernel<R>, grid, block, 0, stream, args, chunks, memory, d);
  }
  launch("mine_hard_negatives, ties", tie_kernel<R>, grid, block, 0, stream, args, chunks, memory);
  launch("mine_hard_negatives, choice", choose_kernel<R>, grid, block, 0, stream, args, chunks, memory);
}

template <class R>
int64_t rank_bytes(const MineHardNegativesArgs& args) {
  return args.anchor_count * int64_t{sizeof(R)};
}

template <class R>
bool fits_shared(const MineHardNegativesArgs& args) {
  return rank_bytes<R>(args) <= min2(kSharedRanks, shared_memory_limit() - kOtherShared);
}

}  // namespace

int64_t mine_hard_negatives_workspace(const MineHardNegativesArgs& args) {
  Workspace workspace;
  dispatch_floating(args.dtype, [&]<class T>(Tag<T>) {
    using R = LossRank<Accumulate<T>>;
    if (!fits_shared<R>(args)) {
      Memory<R>(args, workspace);
    }
  });
  return workspace.bytes();
}

void mine_hard_negatives(const MineHardNegativesArgs& args, void* workspace, Stream stream) {
  if (args.batch == 0 || args.anchor_count == 0) {
    return;
  }
  dispatch_floating(args.dtype, [&]<class T>(Tag<T>) {
    using R = LossRank<Accumulate<T>>;
    if (fits_shared<R>(args)) {
      launch("mine_hard_negatives", mine_image_kernel<T>, dim3(static_cast<unsigned>(args.batch)), dim3(kCutThreads),
             static_cast<size_t>(rank_bytes<R>(args)), stream, args);
    } else {
      mine_large_images<T, R>(args, workspace, stream);
    }
  });
}

}  // namespace refinedet::cuda
