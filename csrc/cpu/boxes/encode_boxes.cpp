#include "ops/encode_boxes.h"

#include "box_blocks.h"
#include "cpu/runtime/level.h"

namespace refinedet::cpu {

using namespace REFINEDET_CPU_LEVEL;

template <>
void kernel<kLevel>(const EncodeBoxesArgs& args, const ParallelFor& parallel) {
  dispatch_floating(args.dtype, [&]<class T>(Tag<T>) {
    using W = Accumulate<T>;
    const T* boxes = static_cast<const T*>(args.boxes);
    const T* anchors = static_cast<const T*>(args.anchors);
    T* deltas = static_cast<T*>(args.deltas);
    const EncodeRow<W> f{variance_of<W>(args.variances)};
    parallel(args.count, kBoxGrain, [=](int64_t begin, int64_t end) {
      for_anchor_runs(begin, end, args.anchor_count, [&](int64_t row, int64_t anchor, int64_t run) {
        map_boxes(run, {boxes + 4 * row, anchors + 4 * anchor}, {deltas + 4 * row}, f);
      });
    });
  });
}

template <>
void kernel<kLevel>(const EncodeBoxesBackwardArgs& args, const ParallelFor& parallel) {
  const EncodeBoxesArgs& fwd = args.forward;
  dispatch_floating(fwd.dtype, [&]<class T>(Tag<T>) {
    using W = Accumulate<T>;
    const T* boxes = static_cast<const T*>(fwd.boxes);
    const T* anchors = static_cast<const T*>(fwd.anchors);
    const T* grads = static_cast<const T*>(args.grad_deltas);
    T* grad_boxes = static_cast<T*>(args.grad_boxes);
    T* grad_anchors = static_cast<T*>(args.grad_anchors);
    const EncodeBackwardRow<W> f{variance_of<W>(fwd.variances)};
    parallel(fwd.count, kBoxGrain, [=](int64_t begin, int64_t end) {
      for_anchor_runs(begin, end, fwd.anchor_count, [&](int64_t row, int64_t anchor, int64_t run) {
        map_boxes(run, {grads + 4 * row, boxes + 4 * row, anchors + 4 * anchor},
                  {grad_boxes + 4 * row, grad_anchors + 4 * row}, f);
      });
    });
  });
}

}  // namespace refinedet::cpu
