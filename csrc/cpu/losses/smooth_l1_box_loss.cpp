#include "ops/smooth_l1_box_loss.h"

#include "core/smooth_l1.h"
#include "cpu/boxes/box_blocks.h"
#include "cpu/runtime/level.h"
#include "cpu/simd/flags.h"

namespace refinedet::cpu::REFINEDET_CPU_LEVEL {
namespace {

constexpr int64_t kChunk = 256;  // anchors

// put(anchor, row) for the anchors of image b that have a box, rising; `row` is what `f` makes of their deltas, box and
// anchor.
template <class T, class F, class Put>
REFINEDET_HD void for_positives(const SmoothL1BoxLossArgs& args, int64_t b, const F& f, const Put& put) {
  const int64_t n = args.anchor_count;
  const T* deltas = static_cast<const T*>(args.deltas) + 4 * n * b;
  const T* anchors = static_cast<const T*>(args.anchors) + (args.shared ? 0 : 4 * n * b);
  const T* boxes = static_cast<const T*>(args.gt_boxes);
  const int64_t* index = args.gt_index + n * b;
  T rows[3][4 * kChunk];
  Accumulate<T> results[4 * kChunk];
  for (int64_t first = 0; first < n; first += kChunk) {
    const int64_t some = min2(kChunk, n - first);
    uint8_t has_box[kChunk];
    for (int64_t i = 0; i < some; ++i) {
      has_box[i] = static_cast<uint64_t>(index[first + i]) < static_cast<uint64_t>(args.gt_count);
    }
    int32_t positions[kChunk];
    const int64_t found = positions_of_set(has_box, some, positions);
    for (int64_t k = 0; k < found; ++k) {
      const int64_t anchor = first + positions[k];
      memcpy(rows[0] + 4 * k, deltas + 4 * anchor, 4 * sizeof(T));
      memcpy(rows[1] + 4 * k, boxes + 4 * index[anchor], 4 * sizeof(T));
      memcpy(rows[2] + 4 * k, anchors + 4 * anchor, 4 * sizeof(T));
    }
    map_boxes(found, {rows[0], rows[1], rows[2]}, {results}, f);
    for (int64_t k = 0; k < found; ++k) {
      put(first + positions[k], results + 4 * k);
    }
  }
}

// Images per task.
REFINEDET_HD int64_t image_grain(int64_t anchor_count) {
  return max2(int64_t{1}, kBoxGrain / max2(int64_t{1}, anchor_count));
}

}  // namespace
}  // namespace refinedet::cpu::REFINEDET_CPU_LEVEL

namespace refinedet::cpu {

using namespace REFINEDET_CPU_LEVEL;

template <>
void kernel<kLevel>(const SmoothL1BoxLossArgs& args, const ParallelFor& parallel) {
  dispatch_floating(args.dtype, [&]<class T>(Tag<T>) {
    using W = Accumulate<T>;
    const SmoothL1Row<W, false> f{variance_of<W>(args.variances), static_cast<W>(args.beta)};
    parallel(args.batch, image_grain(args.anchor_count), [&](int64_t begin, int64_t end) {
      for (int64_t b = begin; b < end; ++b) {
        double sum = 0;  // in the anchors' order
        for_positives<T>(args, b, f, [&](int64_t, const W* row) {
          sum += (double{row[0]} + double{row[1]}) + (double{row[2]} + double{row[3]});
        });
        static_cast<W*>(args.loss)[b] = static_cast<W>(sum);
      }
    });
  });
}

template <>
void kernel<kLevel>(const SmoothL1BoxLossBackwardArgs& args, const ParallelFor& parallel) {
  const SmoothL1BoxLossArgs& fwd = args.forward;
  dispatch_floating(fwd.dtype, [&]<class T>(Tag<T>) {
    using W = Accumulate<T>;
    const SmoothL1Row<W, true> f{variance_of<W>(fwd.variances), static_cast<W>(fwd.beta)};
    parallel(fwd.batch, image_grain(fwd.anchor_count), [&](int64_t begin, int64_t end) {
      for (int64_t b = begin; b < end; ++b) {
        const W grad = static_cast<const W*>(args.grad_loss)[b];
        T* const grads = static_cast<T*>(args.grad_deltas) + 4 * fwd.anchor_count * b;
        memset(static_cast<void*>(grads), 0, static_cast<size_t>(4 * fwd.anchor_count) * sizeof(T));
        for_positives<T>(fwd, b, f, [&](int64_t anchor, const W* row) {
          for (int k = 0; k < 4; ++k) {
            grads[4 * anchor + k] = round_to<T>(grad * row[k]);
          }
        });
      }
    });
  });
}

}  // namespace refinedet::cpu
