#include "decode_boxes.h"

#include "box_blocks.h"

namespace refinedet::cpu::REFINEDET_CPU_LEVEL {
namespace {

// Where coordinates are clipped to; without clip_to infinitely far away, so that loops need no branch.
template <class W>
struct ClipTo {
  W low, right, bottom;

  explicit ClipTo(const DecodeBoxesArgs& args) : low(0), right(0), bottom(0) {
    const W inf = static_cast<W>(__builtin_huge_val());
    low = args.clip ? W(0) : -inf;
    right = args.clip ? static_cast<W>(args.width) : inf;
    bottom = args.clip ? static_cast<W>(args.height) : inf;
  }
};

}  // namespace

void decode_boxes(const DecodeBoxesArgs& args, const ParallelFor& parallel) {
  dispatch_floating(args.dtype, [&]<class T>(Tag<T>) {
    using W = Work<T>;
    const T* deltas = static_cast<const T*>(args.deltas);
    const T* anchors = static_cast<const T*>(args.anchors);
    T* boxes = static_cast<T*>(args.boxes);
    const Delta<W> variance = variance_of<W>(args.variances);
    const ClipTo<W> to(args);
    parallel(args.count, kBoxGrain, [=](int64_t begin, int64_t end) {
      for_anchor_runs(begin, end, args.anchor_count, [&](int64_t row, int64_t anchor, int64_t run) {
        map_boxes(run, {deltas + 4 * row, anchors + 4 * anchor}, {boxes + 4 * row},
                  [&](const Quad<W>* in, Quad<W>* out) {
                    const Box<W> b = decode<W>(in[0], in[1], variance);
                    out[0] = {clamp(b.x1, to.low, to.right), clamp(b.y1, to.low, to.bottom),
                              clamp(b.x2, to.low, to.right), clamp(b.y2, to.low, to.bottom)};
                  });
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
    const ClipTo<W> to(fwd);
    parallel(fwd.count, kBoxGrain, [=](int64_t begin, int64_t end) {
      for_anchor_runs(begin, end, fwd.anchor_count, [&](int64_t row, int64_t anchor, int64_t run) {
        map_boxes(run, {grads + 4 * row, deltas + 4 * row, anchors + 4 * anchor},
                  {grad_deltas + 4 * row, grad_anchors + 4 * row}, [&](const Quad<W>* in, Quad<W>* out) {
                    const Box<W> b = decode<W>(in[1], in[2], variance), g = in[0];
                    // a clipped coordinate does not move with its box
                    const Box<W> grad{(b.x1 < to.low) | (b.x1 > to.right) ? W(0) : g.x1,
                                      (b.y1 < to.low) | (b.y1 > to.bottom) ? W(0) : g.y1,
                                      (b.x2 < to.low) | (b.x2 > to.right) ? W(0) : g.x2,
                                      (b.y2 < to.low) | (b.y2 > to.bottom) ? W(0) : g.y2};
                    Delta<W> grad_delta;
                    Box<W> grad_anchor;
                    decode_backward<W>(grad, in[1], in[2], variance, grad_delta, grad_anchor);
                    out[0] = grad_delta;
                    out[1] = grad_anchor;
                  });
      });
    });
  });
}

}  // namespace refinedet::cpu::REFINEDET_CPU_LEVEL
