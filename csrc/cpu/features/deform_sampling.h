// What reading columns and their gradient share.
#pragma once

#include "channel_steps.h"
#include "deform_tile.h"

namespace refinedet::cpu::REFINEDET_CPU_LEVEL {

// Calls f(Tag<T>{}) for the element types that tiles have.
template <class F>
REFINEDET_HD void dispatch_tile(DType dtype, const F& f) {
  switch (dtype) {
    case DType::f64:
      return f(Tag<double>{});
    case DType::bf16:
      return f(Tag<BFloat16>{});
    default:
      return f(Tag<float>{});
  }
}

// Output pixels of a task: tens of microseconds.
REFINEDET_HD int64_t pixel_grain(const DeformTile& tile) {
  return max2<int64_t>(1, 65536 / max2<int64_t>(1, tile.taps * tile.channels));
}

// The four pixels that a sample reads, from `channel` on. Those outside the map are zeros in memory: a weight of zero
// on some pixel of the map would turn its infinities into NaN.
template <class T>
struct Corners {
  const T* p[4];
};

template <class T>
REFINEDET_HD Corners<T> corners_of(const DeformSample<Accumulate<T>>& s, const T* image, int64_t pixel_stride,
                                   int64_t channel, const T* zeros) {
  Corners<T> c;
  for (int i = 0; i < 4; ++i) {
    c.p[i] = s.corner[i] >= 0 ? image + s.corner[i] * pixel_stride + channel : zeros;
  }
  return c;
}

// A step of columns from its corners. A mask of 1 need not be multiplied with.
template <bool masked, class T>
REFINEDET_HD void store_blend(T* to, int64_t count, const Lanes<Accumulate<T>> (&corner)[4][kParts<T>],
                              const CornerWeights<Accumulate<T>>& weights, Accumulate<T> mask) {
  using W = Accumulate<T>;
  // as store_step wants NaN; the corners' and the processor's own are so
  const W factor = mask == mask ? mask : static_cast<W>(__builtin_nan(""));
  Lanes<W> sum[kParts<T>];
  for (int i = 0; i < kParts<T>; ++i) {
    sum[i] = corner[0][i] * weights.w[0];
    for (int j = 1; j < 4; ++j) {
      sum[i] = multiply_add<W>(corner[j][i], all_lanes(weights.w[j]), sum[i]);
    }
    if constexpr (masked) {
      sum[i] *= factor;
    }
  }
  store_step(to, count, sum);
}

}  // namespace refinedet::cpu::REFINEDET_CPU_LEVEL
