// Center-size coding of a box against an anchor, with variances (Liu et al. 2016, SSD, eq. 2), and its gradients.
// Finite input gives finite output: shifts stay within kMaxShift anchor sides, sides within e^+-kMaxLogScale, and a
// coordinate beyond T becomes the largest number of T.
#pragma once

#include <limits>

#include "box.h"

namespace refinedet {

template <class T>
struct Delta {
  T x, y, w, h;
};

template <class T>
inline constexpr T kMaxLogScale = T(10);
template <class T>
inline constexpr T kMaxShift = T(1e6);
template <class T>
inline constexpr T kMinSide = T(1e-12);

template <class T>
inline constexpr T kLargest = std::numeric_limits<T>::max();

// Whether results may be beyond T. Where all coordinates of the anchors are within kNear they are not, even after two
// decodings, and the clamps can be left out: with them decoding takes half as long again.
enum class Range { any, near };
inline constexpr float kNear = 1e24f;

// Coordinates are added and subtracted as halves: the sum of two, or the side between them, may be beyond T. Halving is
// exact (but for numbers near the smallest), so that results are those of the plain formulas wherever these are finite.
template <class T>
REFINEDET_HD T center_of(T low, T high) {
  return low * T(0.5) + high * T(0.5);
}

template <class T>
REFINEDET_HD T half_side_of(T low, T high) {
  return high * T(0.5) - low * T(0.5);
}

// One axis of decode.
template <class T>
struct DecodedAxis {
  T raw_shift, raw_scale;  // by the deltas
  T shift, scale;          // within their bounds; the scale is a factor
  T half_side;             // of the anchor
  T low, high;             // of the box, infinite where they are beyond T
};

template <Range range, class T>
REFINEDET_HD DecodedAxis<T> decode_axis(T d_shift, T d_scale, T low, T high, T v_shift, T v_scale) {
  const T raw_shift = d_shift * v_shift, raw_scale = d_scale * v_scale;
  const T shift = clamp(raw_shift, -kMaxShift<T>, kMaxShift<T>);
  const T scale = exp_bounded(clamp(raw_scale, -kMaxLogScale<T>, kMaxLogScale<T>));
  const T half_side = half_side_of(low, high);
  const T center = center_of(low, high) + shift * T(2) * half_side;
  T half = half_side * scale;
  if constexpr (range == Range::any) {
    half = clamp(half, -kLargest<T>, kLargest<T>);  // so that an infinite center minus that is no NaN
  }
  return {raw_shift, raw_scale, shift, scale, half_side, center - half, center + half};
}

template <class T, Range range = Range::any>
REFINEDET_HD Box<T> decode(const Delta<T>& d, const Box<T>& a, const Delta<T>& variance) {
  const DecodedAxis<T> x = decode_axis<range>(d.x, d.w, a.x1, a.x2, variance.x, variance.w);
  const DecodedAxis<T> y = decode_axis<range>(d.y, d.h, a.y1, a.y2, variance.y, variance.h);
  if constexpr (range == Range::near) {
    return {x.low, y.low, x.high, y.high};
  } else {
    const auto finite = [](T coordinate) { return clamp(coordinate, -kLargest<T>, kLargest<T>); };
    return {finite(x.low), finite(y.low), finite(x.high), finite(y.high)};
  }
}

// False with NaN.
template <class T>
REFINEDET_HD bool within(T x, T bound) {
  const bool above = x >= -bound, below = x <= bound;
  return above & below;
}

// One axis of decode: from the gradients of its two coordinates to those of its shift, scale and anchor coordinates.
template <class T>
struct AxisGrad {
  T shift, scale, low, high;
};

template <Range range, class T>
REFINEDET_HD AxisGrad<T> decode_axis_backward(T g_low, T g_high, T d_shift, T d_scale, T low, T high, T v_shift,
                                              T v_scale) {
  const DecodedAxis<T> axis = decode_axis<range>(d_shift, d_scale, low, high, v_shift, v_scale);
  // a clamped value does not move with what it was made of
  if constexpr (range == Range::any) {
    g_low = (axis.low < -kLargest<T>) | (axis.low > kLargest<T>) ? T(0) : g_low;
    g_high = (axis.high < -kLargest<T>) | (axis.high > kLargest<T>) ? T(0) : g_high;
  }
  const bool open_shift = within(axis.raw_shift, kMaxShift<T>), open_scale = within(axis.raw_scale, kMaxLogScale<T>);
  const T g_center = g_low + g_high;
  const T g_half = range == Range::near || within(axis.half_side * axis.scale, kLargest<T>) ? g_high - g_low : T(0);
  const T g_side = g_center * axis.shift + g_half * axis.scale * T(0.5);
  const T g_shift = g_center * axis.half_side * (v_shift * T(2));
  const T g_scale = g_half * axis.half_side * axis.scale * v_scale;
  return {open_shift ? g_shift : T(0), open_scale ? g_scale : T(0), g_center * T(0.5) - g_side,
          g_center * T(0.5) + g_side};
}

template <class T, Range range = Range::any>
REFINEDET_HD void decode_backward(const Box<T>& grad, const Delta<T>& d, const Box<T>& a, const Delta<T>& variance,
                                  Delta<T>& grad_delta, Box<T>& grad_anchor) {
  const AxisGrad<T> x = decode_axis_backward<range>(grad.x1, grad.x2, d.x, d.w, a.x1, a.x2, variance.x, variance.w);
  const AxisGrad<T> y = decode_axis_backward<range>(grad.y1, grad.y2, d.y, d.h, a.y1, a.y2, variance.y, variance.h);
  grad_delta = {x.shift, y.shift, x.scale, y.scale};
  grad_anchor = {x.low, y.low, x.high, y.high};
}

// One axis of encode, without the variances.
template <class T>
struct EncodedAxis {
  T half_b, half_a;  // half sides of the box and the anchor, at least kMinSide / 2
  T shift, scale;    // not yet within their bounds; the scale is a logarithm
};

template <class T>
REFINEDET_HD EncodedAxis<T> encode_axis(T b_low, T b_high, T a_low, T a_high) {
  const T least = kMinSide<T> * T(0.5);
  const T half_b = max2(least, half_side_of(b_low, b_high)), half_a = max2(least, half_side_of(a_low, a_high));
  const T half_shift = center_of(b_low, b_high) * T(0.5) - center_of(a_low, a_high) * T(0.5);
  return {half_b, half_a, half_shift / half_a, log_positive(half_b / half_a)};
}

template <class T>
REFINEDET_HD Delta<T> encode(const Box<T>& b, const Box<T>& a, const Delta<T>& variance) {
  const EncodedAxis<T> x = encode_axis(b.x1, b.x2, a.x1, a.x2), y = encode_axis(b.y1, b.y2, a.y1, a.y2);
  return {clamp(x.shift, -kMaxShift<T>, kMaxShift<T>) / variance.x,
          clamp(y.shift, -kMaxShift<T>, kMaxShift<T>) / variance.y,
          clamp(x.scale, -kMaxLogScale<T>, kMaxLogScale<T>) / variance.w,
          clamp(y.scale, -kMaxLogScale<T>, kMaxLogScale<T>) / variance.h};
}

// One axis of encode: from the gradients of its shift and scale to those of the box's and the anchor's coordinates.
template <class T>
struct EncodeAxisGrad {
  T box_low, box_high, anchor_low, anchor_high;
};

template <class T>
REFINEDET_HD EncodeAxisGrad<T> encode_axis_backward(T g_shift, T g_scale, T b_low, T b_high, T a_low, T a_high,
                                                    T v_shift, T v_scale) {
  const EncodedAxis<T> axis = encode_axis(b_low, b_high, a_low, a_high);
  // a clamped value does not move with what it was made of
  const T open_shift = within(axis.shift, kMaxShift<T>) ? g_shift / v_shift : T(0);
  const T open_scale = within(axis.scale, kMaxLogScale<T>) ? g_scale / v_scale : T(0);
  const bool open_b = half_side_of(b_low, b_high) >= kMinSide<T> * T(0.5);
  const bool open_a = half_side_of(a_low, a_high) >= kMinSide<T> * T(0.5);
  const T half_g_center = open_shift * T(0.25) / axis.half_a;
  const T g_side_b = open_b ? open_scale * T(0.5) / axis.half_b : T(0);
  const T g_side_a = open_a ? -(open_shift * axis.shift + open_scale) * T(0.5) / axis.half_a : T(0);
  return {half_g_center - g_side_b, half_g_center + g_side_b, -half_g_center - g_side_a, -half_g_center + g_side_a};
}

template <class T>
REFINEDET_HD void encode_backward(const Delta<T>& grad, const Box<T>& b, const Box<T>& a, const Delta<T>& variance,
                                  Box<T>& grad_box, Box<T>& grad_anchor) {
  const EncodeAxisGrad<T> x = encode_axis_backward(grad.x, grad.w, b.x1, b.x2, a.x1, a.x2, variance.x, variance.w);
  const EncodeAxisGrad<T> y = encode_axis_backward(grad.y, grad.h, b.y1, b.y2, a.y1, a.y2, variance.y, variance.h);
  grad_box = {x.box_low, y.box_low, x.box_high, y.box_high};
  grad_anchor = {x.anchor_low, y.anchor_low, x.anchor_high, y.anchor_high};
}

}  // namespace refinedet
