// Floor, at B=32, A=6375, 21 classes in float32: forward, 17 MB of logits read once, 3.6 us, where every anchor may
// count; rows that cannot are not read. Backward, 17 MB written, as long.
//
// A thread per anchor, with the sums in the CPU kernel's order, so that both mine the same negatives. The lines of 128
// bytes that a warp reads for one class serve it for the next ones too, out of the first cache. What comes after, the
// mining and a sum per image, works on 4 bytes an anchor. Backward, the zeros go by the memory's own fill, and only the
// chosen rows, four for every positive, are worked on.
#include "core/softmax.h"
#include "cuda/primitives/block.h"
#include "cuda/primitives/workspace.h"
#include "ops/mine_hard_negatives.h"
#include "ops/mined_cross_entropy.h"

namespace refinedet::cuda {
namespace {

constexpr int kRowThreads = 128;

template <class W>
struct Exponentials {
  W top, sum;
};

// The largest of a row's logits, and the sum of e^(logit - top).
template <class T>
__device__ Exponentials<Accumulate<T>> exponentials(const T* row, int64_t classes) {
  using W = Accumulate<T>;
  W top = load(row[0]);
  for (int64_t c = 1; c < classes; ++c) {
    top = max2(load(row[c]), top);
  }
  W sum = 0;
  for (int64_t c = 0; c < classes; ++c) {
    sum += exp_negative(load(row[c]) - top);
  }
  return {top, sum};
}

__device__ __forceinline__ int64_t class_of(int64_t target, int64_t classes) {
  GPU_CHECK(target < classes, "targets: expected values below the number of classes");
  return max2(target, int64_t{0});
}

template <class T>
__global__ void __launch_bounds__(kRowThreads) row_loss_kernel(MinedCrossEntropyArgs args, Accumulate<T>* losses) {
  const int64_t total = args.batch * args.anchor_count;
  for (int64_t i = grid_first(); i < total; i += grid_step()) {
    const int64_t label = args.labels[i];
    Accumulate<T> loss = 0;
    if (label > 0 || (label == 0 && (args.eligible == nullptr || args.eligible[i]))) {
      const T* row = static_cast<const T*>(args.logits) + args.classes * i;
      const Exponentials<Accumulate<T>> e = exponentials(row, args.classes);
      loss = log_positive(e.sum) + (e.top - load(row[class_of(args.targets[i], args.classes)]));
    }
    losses[i] = loss;
  }
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
__global__ void __launch_bounds__(kRowThreads) row_gradient_kernel(MinedCrossEntropyBackwardArgs args) {
  using W = Accumulate<T>;
  const int64_t total = args.batch * args.anchor_count;
  for (int64_t i = grid_first(); i < total; i += grid_step()) {
    if (args.chosen[i]) {
      const int64_t target = class_of(args.targets[i], args.classes);
      const T* row = static_cast<const T*>(args.logits) + args.classes * i;
      T* out = static_cast<T*>(args.grad_logits) + args.classes * i;
      const Exponentials<W> e = exponentials(row, args.classes);
      const W grad = static_cast<const W*>(args.grad_loss)[i / args.anchor_count];
      for (int64_t c = 0; c < args.classes; ++c) {
        const W p = exp_negative(load(row[c]) - e.top) / e.sum;
        out[c] = round_to<T>(grad * (c == target ? p - W(1) : p));
      }
    }
  }
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
      launch("mined_cross_entropy, rows", row_loss_kernel<T>, blocks_for(total, kRowThreads), dim3(kRowThreads), 0,
             stream, args, memory.losses);
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
    launch("mined_cross_entropy_backward", row_gradient_kernel<T>, blocks_for(total, kRowThreads), dim3(kRowThreads), 0,
           stream, args);
  });
}

}  // namespace refinedet::cuda
