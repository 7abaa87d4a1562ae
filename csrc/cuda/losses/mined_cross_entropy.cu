// Floor, at B=32, A=6375, 21 classes in float32: forward, 17 MB of logits read once, 3.6 us, where every anchor may
// count; rows that cannot are not read. Backward, 17 MB written, as long.
//
// A thread per anchor, with the sums in the CPU kernel's order, so that both mine the same negatives. Read row by row
// that would be a line of memory for every lane and class; so a warp stages its 32 rows in shared memory first
// (row_tile.h), which takes 0.2 M reads of a row, some 10 instructions each: 2 us. 4.3 M exponentials of 25
// instructions are 6 us. What comes after, the mining and a sum per image, works on 4 bytes an anchor. Backward, the
// zeros go by the memory's own fill, and only the chosen rows, four for every positive, are worked on. Expected: rows 9
// us, mining 8, sums 4; backward 9.
#include "core/softmax.h"
#include "cuda/primitives/block.h"
#include "cuda/primitives/workspace.h"
#include "ops/mine_hard_negatives.h"
#include "ops/mined_cross_entropy.h"
#include "row_tile.h"

namespace refinedet::cuda {
namespace {

constexpr int kRowThreads = 64;  // two warps' tiles fit into what every GPU has of shared memory
constexpr int kRowBlocks = 8;    // that a processor holds at least; the compiler would spill registers to have 14

template <class W>
struct Exponentials {
  W top, sum;
};

// The largest of a row's logits, and the sum of e^(logit - top).
template <class T>
__device__ __forceinline__ Exponentials<Accumulate<T>> exponentials(RowTile<T>& rows) {
  using W = Accumulate<T>;
  W top = 0, sum = 0;
  rows.each([&](int64_t c, W x) { top = c == 0 ? x : max2(x, top); });
  rows.each([&](int64_t, W x) { sum += exp_negative(x - top); });
  return {top, sum};
}

__device__ __forceinline__ int64_t class_of(int64_t target, int64_t classes) {
  GPU_CHECK(target < classes, "targets: expected values below the number of classes");
  return max2(target, int64_t{0});
}

// f(i, counts, rows) for all rows of the logits, by whole warps, each lane with a row i of its own, or none (counts is
// false): `rows` are those of the warp's that count, by counts_at(i).
template <class T, class Counts, class F>
__device__ __forceinline__ void for_rows(const void* logits, int64_t total, int64_t classes, const Counts& counts_at,
                                         const F& f) {
  GPU_DYNAMIC_SHARED(T, tiles);
  T* const tile = tiles + warp_id() * kWarp * RowTile<T>::stride_for(classes);
  for (int64_t start = grid_first() - lane_id(); start < total; start += grid_step()) {
    const int64_t i = start + lane_id();
    const bool counts = i < total && counts_at(i);
    RowTile<T> rows(static_cast<const T*>(logits) + classes * start, classes, __ballot_sync(kAllLanes, counts), tile);
    f(i, counts, rows);
  }
}

template <class T>
__global__ void __launch_bounds__(kRowThreads, kRowBlocks)
    row_loss_kernel(MinedCrossEntropyArgs args, Accumulate<T>* losses) {
  using W = Accumulate<T>;
  const int64_t total = args.batch * args.anchor_count;
  const auto counts_at = [&](int64_t i) {
    const int64_t label = args.labels[i];
    return label > 0 || (label == 0 && (args.eligible == nullptr || args.eligible[i]));
  };
  for_rows<T>(args.logits, total, args.classes, counts_at, [&](int64_t i, bool counts, RowTile<T>& rows) {
    const Exponentials<W> e = exponentials(rows);
    W loss = 0;
    if (counts) {
      const int64_t at = args.classes * i + class_of(args.targets[i], args.classes);
      loss = log_positive(e.sum) + (e.top - load(static_cast<const T*>(args.logits)[at]));
    }
    if (i < total) {
      losses[i] = loss;
    }
  });
}

// Adds the positives to the chosen and sums up: a block per image, whose threads' sums are added in their order.
template <class W>
__global__ void __launch_bounds__(kSumThreads) image_loss_kernel(MinedCrossEntropyArgs args, const W* losses) {
  const int64_t image = blockIdx.x, row = image * args.anchor_count;
  double sum = 0;
  int64_t positives = 0, negatives = 0;
  for (int64_t i = threadIdx.x; i < args.anchor_count; i += kSumThreads) {
    const bool positive = args.labels[row + i] > 0, mined = args.chosen[row + i];
    args.chosen[row + i] = positive || mined;
    positives += positive;
    negatives += mined;
    sum += positive || mined ? static_cast<double>(losses[row + i]) : 0.0;
  }
  sum = block_sum(sum);
  positives = block_sum(positives);
  negatives = block_sum(negatives);
  if (threadIdx.x == 0) {
    static_cast<W*>(args.loss)[image] = static_cast<W>(sum);
    args.positives[image] = positives;
    args.negatives[image] = negatives;
  }
}

// The gradients of the chosen rows; the others are zero already.
template <class T>
__global__ void __launch_bounds__(kRowThreads, kRowBlocks) row_gradient_kernel(MinedCrossEntropyBackwardArgs args) {
  using W = Accumulate<T>;
  const int64_t total = args.batch * args.anchor_count;
  const auto counts_at = [&](int64_t i) { return args.chosen[i]; };
  for_rows<T>(args.logits, total, args.classes, counts_at, [&](int64_t i, bool counts, RowTile<T>& rows) {
    const int64_t target = counts ? class_of(args.targets[i], args.classes) : 0;
    const W grad = counts ? static_cast<const W*>(args.grad_loss)[i / args.anchor_count] : W(0);
    const Exponentials<W> e = exponentials(rows);
    T* const out = static_cast<T*>(args.grad_logits) + args.classes * (i - lane_id());
    rows.map(out, [&](int64_t c, W x) {
      const W p = exp_negative(x - e.top) / e.sum;
      return grad * (c == target ? p - W(1) : p);
    });
  });
}

// Shared memory of the two kernels above.
template <class T>
size_t tile_bytes(int64_t classes) {
  return kRowThreads / kWarp * RowTile<T>::bytes_for(classes);
}

// Scratch memory: the losses of all anchors, and what their mining takes.
template <class W>
struct Memory {
  W* losses;
  MineHardNegativesArgs mining;
  void* mining_workspace;

  Memory(const MinedCrossEntropyArgs& args, Workspace& workspace) {
    losses = workspace.take<W>(args.batch * args.anchor_count);
    mining = {sizeof(W) == sizeof(double) ? DType::f64 : DType::f32,
              losses,
              args.labels,
              args.eligible,
              args.batch,
              args.anchor_count,
              args.ratio,
              args.min_negatives,
              args.chosen};
    mining_workspace = workspace.take<char>(mine_hard_negatives_workspace(mining));
  }
};

}  // namespace

int64_t mined_cross_entropy_workspace(const MinedCrossEntropyArgs& args) {
  Workspace workspace;
  dispatch_floating(args.dtype, [&]<class T>(Tag<T>) { Memory<Accumulate<T>>(args, workspace); });
  return workspace.bytes();
}

void mined_cross_entropy(const MinedCrossEntropyArgs& args, void* workspace, Stream stream) {
  if (args.batch == 0) {
    return;
  }
  dispatch_floating(args.dtype, [&]<class T>(Tag<T>) {
    using W = Accumulate<T>;
    Workspace pieces(workspace);
    const Memory<W> memory(args, pieces);
    const int64_t total = args.batch * args.anchor_count;
    if (total > 0) {
      launch("mined_cross_entropy, rows", row_loss_kernel<T>, blocks_for(total, kRowThreads), dim3(kRowThreads),
             tile_bytes<T>(args.classes), stream, args, memory.losses);
      mine_hard_negatives(memory.mining, memory.mining_workspace, stream);
    }
    launch("mined_cross_entropy, images", image_loss_kernel<W>, dim3(static_cast<unsigned>(args.batch)),
           dim3(kSumThreads), 0, stream, args, memory.losses);
  });
}

void mined_cross_entropy_backward(const MinedCrossEntropyBackwardArgs& args, Stream stream) {
  const int64_t total = args.batch * args.anchor_count;
  if (total == 0) {
    return;
  }
  dispatch_floating(args.dtype, [&]<class T>(Tag<T>) {
    fill_zero(args.grad_logits, static_cast<size_t>(total * args.classes) * sizeof(T), stream);
    launch("mined_cross_entropy_backward", row_gradient_kernel<T>, blocks_for(total, kRowThreads), dim3(kRowThreads),
           tile_bytes<T>(args.classes), stream, args);
  });
}

}  // namespace refinedet::cuda
