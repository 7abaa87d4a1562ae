#include "decode_boxes.h"

#include "box_io.h"

namespace refinedet::cpu::REFINEDET_CPU_LEVEL {

void decode_boxes(const DecodeBoxesArgs& args, const ParallelFor& parallel) {
  dispatch_floating(args.dtype, [&]<class T>(Tag<T>) {
    using W = Work<T>;
    const T* __restrict deltas = static_cast<const T*>(args.deltas);
    const T* __restrict anchors = static_cast<const T*>(args.anchors);
    T* __restrict boxes = static_cast<T*>(args.boxes);
    const Delta<W> variance = variance_of<W>(args.variances);
    // without clip_to the bounds are infinite, so that the loop needs no branch
    const W inf = static_cast<W>(__builtin_huge_val());
    const W low = args.clip ? W(0) : -inf;
    const W right = args.clip ? static_cast<W>(args.width) : inf;
    const W bottom = args.clip ? static_cast<W>(args.height) : inf;
    parallel(args.count, kBoxGrain, [=](int64_t begin, int64_t end) {
      for_anchor_runs(begin, end, args.anchor_count, [&](int64_t row, int64_t anchor, int64_t run) {
        for (int64_t i = 0; i < run; ++i) {
          const Box<W> b = decode(load_delta(deltas + 4 * (row + i)), load_box(anchors + 4 * (anchor + i)), variance);
          store_box(boxes + 4 * (row + i), Box<W>{clamp(b.x1, low, right), clamp(b.y1, low, bottom),
                                                  clamp(b.x2, low, right), clamp(b.y2, low, bottom)});
        }
      });
    });
  });
}

void decode_boxes_backward(const DecodeBoxesBackwardArgs& args, const ParallelFor& parallel) {
  const DecodeBoxesArgs& fwd = args.forward;
  dispatch_floating(fwd.dtype, [&]<class T>(Tag<T>) {
    using W = Work<T>;
    const T* deltas = static_cast<const T*>(fwd.deltas);
    const T* anchors = static_cast<const T*>(fwd.anchors);
    const T* grads = static_cast<const T*>(args.grad_boxes);
    T* grad_deltas = static_cast<T*>(args.grad_deltas);
    T* grad_anchors = static_cast<T*>(args.grad_anchors);
    const Delta<W> variance = variance_of<W>(fwd.variances);
    const W width = static_cast<W>(fwd.width), height = static_cast<W>(fwd.height);
    const bool clipped = fwd.clip;
    parallel(fwd.count, kBoxGrain, [=](int64_t begin, int64_t end) {
      for_anchor_runs(begin, end, fwd.anchor_count, [&](int64_t row, int64_t anchor, int64_t run) {
        for (int64_t i = 0; i < run; ++i) {
          const Delta<W> d = load_delta(deltas + 4 * (row + i));
          const Box<W> a = load_box(anchors + 4 * (anchor + i));
          Box<W> g = load_box(grads + 4 * (row + i));
          if (clipped) {
            const Box<W> b = decode(d, a, variance);
            g.x1 = (b.x1 >= 0) & (b.x1 <= width) ? g.x1 : W(0);
            g.x2 = (b.x2 >= 0) & (b.x2 <= width) ? g.x2 : W(0);
            g.y1 = (b.y1 >= 0) & (b.y1 <= height) ? g.y1 : W(0);
            g.y2 = (b.y2 >= 0) & (b.y2 <= height) ? g.y2 : W(0);
          }
          Delta<W> grad_delta;
          Box<W> grad_anchor;
          decode_backward(g, d, a, variance, grad_delta, grad_anchor);
          store_delta(grad_deltas + 4 * (row + i), grad_delta);
          store_box(grad_anchors + 4 * (row + i), grad_anchor);
        }
      });
    });
  });
}

}  // namespace refinedet::cpu::REFINEDET_CPU_LEVEL
