// Floor: 64 bytes a row in float32 (48 with shared anchors), 112 backward; with `kept` 16 bytes for each row that is
// zero, and that much for each that is kept. About 120 operations a row, below the memory's time. B=32, A=6375: 13 MB,
// 2.7 us, backward 23 MB, 4.8 us; 400 kept an image: 3.3 MB of zeros, 0.7 us. Expected on an H200: 5 us, backward 7;
// with `kept` a launch more and 5 us.
#include "map_rows.h"
#include "ops/decode_cascade.h"

namespace refinedet::cuda {
namespace {

template <int I, int O, class T, class F>
void map_cascade(const char* name, const DecodeCascadeArgs& args, const T* const (&in)[I], T* const (&out)[O],
                 const F& f, Stream stream) {
  const int64_t rows = args.batch * args.count;
  RowArrays<I, O, T> arrays{};
  for (int k = 0; k < I; ++k) {
    arrays.in[k] = in[k];
  }
  for (int k = 0; k < O; ++k) {
    arrays.out[k] = out[k];
    if (args.kept_index != nullptr) {
      fill_zero(out[k], static_cast<size_t>(rows) * 4 * sizeof(T), stream);
    }
  }
  arrays.period = args.shared_anchors ? args.count : rows;
  map_rows(name, arrays, {args.batch, args.count, args.kept_index, args.kept_count}, f, stream);
}

}  // namespace

void decode_cascade(const DecodeCascadeArgs& args, Stream stream) {
  dispatch_floating(args.dtype, [&]<class T>(Tag<T>) {
    map_cascade<3, 1, T>("decode_cascade", args,
                         {static_cast<const T*>(args.arm_deltas), static_cast<const T*>(args.odm_deltas),
                          static_cast<const T*>(args.anchors)},
                         {static_cast<T*>(args.boxes)},
                         CascadeRow<Accumulate<T>>{variance_of<Accumulate<T>>(args.variances)}, stream);
  });
}

void decode_cascade_backward(const DecodeCascadeBackwardArgs& args, Stream stream) {
  const DecodeCascadeArgs& fwd = args.forward;
  dispatch_floating(fwd.dtype, [&]<class T>(Tag<T>) {
    map_cascade<4, 3, T>("decode_cascade_backward", fwd,
                         {static_cast<const T*>(args.grad_boxes), static_cast<const T*>(fwd.arm_deltas),
                          static_cast<const T*>(fwd.odm_deltas), static_cast<const T*>(fwd.anchors)},
                         {static_cast<T*>(args.grad_arm_deltas), static_cast<T*>(args.grad_odm_deltas),
                          static_cast<T*>(args.grad_anchors)},
                         CascadeBackwardRow<Accumulate<T>>{variance_of<Accumulate<T>>(fwd.variances)}, stream);
  });
}

}  // namespace refinedet::cuda
