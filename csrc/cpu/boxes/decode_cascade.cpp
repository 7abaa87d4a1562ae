#include "ops/decode_cascade.h"

#include "box_blocks.h"
#include "cpu/runtime/level.h"

namespace refinedet::cpu::REFINEDET_CPU_LEVEL {
namespace {

// Rows of arrays (batch, count, 4) in parallel, f as for map_boxes. `in` ends with the anchors.
template <int I, int O, class T, class F>
REFINEDET_HD void map_cascade(const DecodeCascadeArgs& args, const T* const (&in)[I], T* const (&out)[O],
                              const ParallelFor& parallel, const F& f) {
  const int64_t batch = args.batch, count = args.count;
  const bool shared = args.shared_anchors;
  if (count == 0) {
    return;
  }
  const auto offset = [=](int k, int64_t row) { return 4 * (k == I - 1 && shared ? row % count : row); };
  if (args.kept_index == nullptr) {
    const int64_t rows = batch * count;
    parallel(rows, kBoxGrain, [&](int64_t begin, int64_t end) {
      for_anchor_runs(begin, end, shared ? count : rows, [&](int64_t row, int64_t, int64_t run) {
        const T* from[I];
        T* to[O];
        for (int k = 0; k < I; ++k) {
          from[k] = in[k] + offset(k, row);
        }
        for (int k = 0; k < O; ++k) {
          to[k] = out[k] + 4 * row;
        }
        map_boxes(run, from, to, f);
      });
    });
    return;
  }
  const int64_t grain = kBoxGrain / count + 1;
  parallel(batch, grain, [&](int64_t begin, int64_t end) {
    for (int64_t b = begin; b < end; ++b) {
      const T* from[I];
      T* to[O];
      for (int k = 0; k < I; ++k) {
        from[k] = in[k] + offset(k, b * count);
      }
      for (int k = 0; k < O; ++k) {
        to[k] = out[k] + 4 * b * count;
        memset(to[k], 0, static_cast<size_t>(count) * 4 * sizeof(T));
      }
      const int64_t* index = args.kept_index + b * count;
      map_boxes_at<O, T>(index, args.kept_count[b], from, f, [&](int64_t first, int64_t some, T* const* rows) {
        for (int64_t i = 0; i < some; ++i) {
          for (int k = 0; k < O; ++k) {
            memcpy(to[k] + 4 * index[first + i], rows[k] + 4 * i, 4 * sizeof(T));
          }
        }
      });
    }
  });
}

}  // namespace
}  // namespace refinedet::cpu::REFINEDET_CPU_LEVEL

namespace refinedet::cpu {

using namespace REFINEDET_CPU_LEVEL;

template <>
void kernel<kLevel>(const DecodeCascadeArgs& args, const ParallelFor& parallel) {
  dispatch_floating(args.dtype, [&]<class T>(Tag<T>) {
    using W = Accumulate<T>;
    map_cascade(args,
                {static_cast<const T*>(args.arm_deltas), static_cast<const T*>(args.odm_deltas),
                 static_cast<const T*>(args.anchors)},
                {static_cast<T*>(args.boxes)}, parallel, CascadeRow<W>{variance_of<W>(args.variances)});
  });
}

template <>
void kernel<kLevel>(const DecodeCascadeBackwardArgs& args, const ParallelFor& parallel) {
  const DecodeCascadeArgs& fwd = args.forward;
  dispatch_floating(fwd.dtype, [&]<class T>(Tag<T>) {
    using W = Accumulate<T>;
    map_cascade(fwd,
                {static_cast<const T*>(args.grad_boxes), static_cast<const T*>(fwd.arm_deltas),
                 static_cast<const T*>(fwd.odm_deltas), static_cast<const T*>(fwd.anchors)},
                {static_cast<T*>(args.grad_arm_deltas), static_cast<T*>(args.grad_odm_deltas),
                 static_cast<T*>(args.grad_anchors)},
                parallel, CascadeBackwardRow<W>{variance_of<W>(fwd.variances)});
  });
}

}  // namespace refinedet::cpu
