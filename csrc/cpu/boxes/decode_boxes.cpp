#include "ops/decode_boxes.h"

#include "box_blocks.h"
#include "cpu/runtime/level.h"

namespace refinedet::cpu {

using namespace REFINEDET_CPU_LEVEL;

template <>
void kernel<kLevel>(const DecodeBoxesArgs& args, const ParallelFor& parallel) {
  dispatch_floating(args.dtype, [&]<class T>(Tag<T>) {
    using W = Accumulate<T>;
    const T* deltas = static_cast<const T*>(args.deltas);
    const T* anchors = static_cast<const T*>(args.anchors);
    T* boxes = static_cast<T*>(args.boxes);
    const DecodeRow<W> f{variance_of<W>(args.variances), {args.clip, args.width, args.height}};
    parallel(args.count, kBoxGrain, [=](int64_t begin, int64_t end) {
      for_anchor_runs(begin, end, args.anchor_count, [&](int64_t row, int64_t anchor, int64_t run) {
        map_boxes(run, {deltas + 4 * row, anchors + 4 * anchor}, {boxes + 4 * row}, f);
      });
    });
  });
}

template <>
void kernel<kLevel>(const DecodeBoxesBackwardArgs& args, const ParallelFor& parallel) {
  const DecodeBoxesArgs& fwd = args.forward;
  dispatch_floating(fwd.dtype, [&]<class T>(Tag<T>) {
    using W = Accumulate<T>;
    const T* deltas = static_cast<const T*>(fwd.deltas);
    const T* anchors = static_cast<const T*>(fwd.anchors);
    const T* grads = static_cast<const T*>(args.grad_boxes);
    T* grad_deltas = static_cast<T*>(args.grad_deltas);
    T* grad_anchors = static_cast<T*>(args.grad_anchors);
    const DecodeBackwardRow<W> f{variance_of<W>(fwd.variances), {fwd.clip, fwd.width, fwd.height}};
    parallel(fwd.count, kBoxGrain, [=](int64_t begin, int64_t end) {
      for_anchor_runs(begin, end, fwd.anchor_count, [&](int64_t row, int64_t anchor, int64_t run) {
        map_boxes(run, {grads + 4 * row, deltas + 4 * row, anchors + 4 * anchor},
                  {grad_deltas + 4 * row, grad_anchors + 4 * row}, f);
      });
    });
  });
}

}  // namespace refinedet::cpu
