// Floor, at B=32 and A=6375 in float32: forward, 8 bytes of index an anchor, 1.6 MB, and 48 for each of the few that
// have a box: less than a launch takes. Backward, 16 bytes an anchor written besides.
//
// Forward a block per image, which needs no second launch for the sum; backward the zeros go by the memory's own fill,
// then a thread per anchor. Expected on an H200: forward 12 reads one after the other in each thread, 8 us and the
// launch; backward 3.3 MB of zeros and 1.6 MB of index, 6 us in two launches.
#include "core/smooth_l1.h"
#include "cuda/primitives/block.h"
#include "ops/smooth_l1_box_loss.h"

namespace refinedet::cuda {
namespace {

// What `f` makes of an anchor's deltas, box and anchor.
template <class T, class F>
__device__ __forceinline__ Quad<Accumulate<T>> positive_row(const SmoothL1BoxLossArgs& args, int64_t i, int64_t box,
                                                            const F& f) {
  GPU_CHECK(box < args.gt_count, "gt_index: expected values below the number of gt_boxes");
  const int64_t anchor = args.shared ? i % args.anchor_count : i;
  const Quad<Accumulate<T>> in[3] = {load_box(static_cast<const T*>(args.deltas) + 4 * i),
                                     load_box(static_cast<const T*>(args.gt_boxes) + 4 * box),
                                     load_box(static_cast<const T*>(args.anchors) + 4 * anchor)};
  Quad<Accumulate<T>> out;
  f(in, &out);
  return out;
}

template <class T, class F>
__global__ void __launch_bounds__(kSumThreads) box_loss_kernel(SmoothL1BoxLossArgs args, F f) {
  const int64_t image = blockIdx.x, row = image * args.anchor_count;
  double sum = 0;
  for (int64_t i = threadIdx.x; i < args.anchor_count; i += kSumThreads) {
    const int64_t box = args.gt_index[row + i];
    if (box >= 0) {
      const Quad<Accumulate<T>> d = positive_row<T>(args, row + i, box, f);
      sum += (double{d.x} + double{d.y}) + (double{d.z} + double{d.w});
    }
  }
  sum = block_sum(sum);
  if (threadIdx.x == 0) {
    static_cast<Accumulate<T>*>(args.loss)[image] = static_cast<Accumulate<T>>(sum);
  }
}

template <class T, class F>
__global__ void box_gradient_kernel(SmoothL1BoxLossBackwardArgs args, F f) {
  const SmoothL1BoxLossArgs& fwd = args.forward;
  const int64_t total = fwd.batch * fwd.anchor_count;
  for (int64_t i = grid_first(); i < total; i += grid_step()) {
    const int64_t box = fwd.gt_index[i];
    if (box >= 0) {
      const Accumulate<T> grad = static_cast<const Accumulate<T>*>(args.grad_loss)[i / fwd.anchor_count];
      const Quad<Accumulate<T>> slope = positive_row<T>(fwd, i, box, f);
      T* out = static_cast<T*>(args.grad_deltas) + 4 * i;
      out[0] = round_to<T>(grad * slope.x);
      out[1] = round_to<T>(grad * slope.y);
      out[2] = round_to<T>(grad * slope.z);
      out[3] = round_to<T>(grad * slope.w);
    }
  }
}

}  // namespace

void smooth_l1_box_loss(const SmoothL1BoxLossArgs& args, Stream stream) {
  if (args.batch == 0) {
    return;
  }
  dispatch_floating(args.dtype, [&]<class T>(Tag<T>) {
    using F = SmoothL1Row<Accumulate<T>, false>;
    const F f{variance_of<Accumulate<T>>(args.variances), static_cast<Accumulate<T>>(args.beta)};
    launch("smooth_l1_box_loss", box_loss_kernel<T, F>, dim3(static_cast<unsigned>(args.batch)), dim3(kSumThreads), 0,
           stream, args, f);
  });
}

void smooth_l1_box_loss_backward(const SmoothL1BoxLossBackwardArgs& args, Stream stream) {
  constexpr int kThreads = 256;
  const SmoothL1BoxLossArgs& fwd = args.forward;
  const int64_t total = fwd.batch * fwd.anchor_count;
  if (total == 0) {
    return;
  }
  dispatch_floating(fwd.dtype, [&]<class T>(Tag<T>) {
    using F = SmoothL1Row<Accumulate<T>, true>;
    const F f{variance_of<Accumulate<T>>(fwd.variances), static_cast<Accumulate<T>>(fwd.beta)};
    fill_zero(args.grad_deltas, static_cast<size_t>(4 * total) * sizeof(T), stream);
    launch("smooth_l1_box_loss_backward", box_gradient_kernel<T, F>, blocks_for(total, kThreads), dim3(kThreads), 0,
           stream, args, f);
  });
}

}  // namespace refinedet::cuda
