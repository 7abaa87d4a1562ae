// Floor: 48 bytes a row in float32 with anchors of its own, 32 with shared ones; about 80 operations, two logarithms
// and six divisions among them: still below the memory's time. B=32, A=6375: 9.8 MB, 2.0 us; A=16320: 25 MB, 5.2 us.
// Expected on an H200: 4 and 7 us; backward, 80 bytes a row, 6 and 11.
#include "map_rows.h"
#include "ops/encode_boxes.h"

namespace refinedet::cuda {

void encode_boxes(const EncodeBoxesArgs& args, Stream stream) {
  dispatch_floating(args.dtype, [&]<class T>(Tag<T>) {
    const RowArrays<2, 1, T> arrays{{static_cast<const T*>(args.boxes), static_cast<const T*>(args.anchors)},
                                    {static_cast<T*>(args.deltas)},
                                    args.anchor_count};
    map_rows("encode_boxes", arrays, {1, args.count, nullptr, nullptr},
             EncodeRow<Accumulate<T>>{variance_of<Accumulate<T>>(args.variances)}, stream);
  });
}

void encode_boxes_backward(const EncodeBoxesBackwardArgs& args, Stream stream) {
  const EncodeBoxesArgs& fwd = args.forward;
  dispatch_floating(fwd.dtype, [&]<class T>(Tag<T>) {
    const RowArrays<3, 2, T> arrays{
        {static_cast<const T*>(args.grad_deltas), static_cast<const T*>(fwd.boxes), static_cast<const T*>(fwd.anchors)},
        {static_cast<T*>(args.grad_boxes), static_cast<T*>(args.grad_anchors)},
        fwd.anchor_count};
    map_rows("encode_boxes_backward", arrays, {1, fwd.count, nullptr, nullptr},
             EncodeBackwardRow<Accumulate<T>>{variance_of<Accumulate<T>>(fwd.variances)}, stream);
  });
}

}  // namespace refinedet::cuda
