// Center-size coding of a box against an anchor, with variances (Liu et al. 2016, SSD, eq. 2), and its gradients.
// Finite input gives finite output: shifts stay within kMaxShift anchor sides, sides within e^+-kMaxLogScale.
#pragma once

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
REFINEDET_HD Box<T> decode(const Delta<T>& d, const Box<T>& a, const Delta<T>& variance) {
  const T width = a.x2 - a.x1, height = a.y2 - a.y1;
  const T shift_x = clamp(d.x * variance.x, -kMaxShift<T>, kMaxShift<T>);
  const T shift_y = clamp(d.y * variance.y, -kMaxShift<T>, kMaxShift<T>);
  const T scale_w = exp_bounded(clamp(d.w * variance.w, -kMaxLogScale<T>, kMaxLogScale<T>));
  const T scale_h = exp_bounded(clamp(d.h * variance.h, -kMaxLogScale<T>, kMaxLogScale<T>));
  const T cx = (a.x1 + a.x2) * T(0.5) + shift_x * width;
  const T cy = (a.y1 + a.y2) * T(0.5) + shift_y * height;
  const T half_w = width * scale_w * T(0.5), half_h = height * scale_h * T(0.5);
  return {cx - half_w, cy - half_h, cx + half_w, cy + half_h};
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

template <class T>
REFINEDET_HD AxisGrad<T> decode_axis_backward(T g_low, T g_high, T d_shift, T d_scale, T low, T high, T v_shift,
                                              T v_scale) {
  const T side = high - low;
  const T raw_shift = d_shift * v_shift, raw_scale = d_scale * v_scale;
  const T shift = clamp(raw_shift, -kMaxShift<T>, kMaxShift<T>);
  const T scale = exp_bounded(clamp(raw_scale, -kMaxLogScale<T>, kMaxLogScale<T>));
  const T g_center = g_low + g_high;
  const T g_half = g_high - g_low;
  // a clamped value does not move with its delta
  const T open_shift = within(raw_shift, kMaxShift<T>) ? T(1) : T(0);
  const T open_scale = within(raw_scale, kMaxLogScale<T>) ? T(1) : T(0);
  const T g_side = g_center * shift + g_half * scale * T(0.5);
  return {g_center * side * v_shift * open_shift, g_half * side * scale * T(0.5) * v_scale * open_scale,
          g_center * T(0.5) - g_side, g_center * T(0.5) + g_side};
}

template <class T>
REFINEDET_HD void decode_backward(const Box<T>& grad, const Delta<T>& d, const Box<T>& a, const Delta<T>& variance,
                                  Delta<T>& grad_delta, Box<T>& grad_anchor) {
  const AxisGrad<T> x = decode_axis_backward(grad.x1, grad.x2, d.x, d.w, a.x1, a.x2, variance.x, variance.w);
  const AxisGrad<T> y = decode_axis_backward(grad.y1, grad.y2, d.y, d.h, a.y1, a.y2, variance.y, variance.h);
  grad_delta = {x.shift, y.shift, x.scale, y.scale};
  grad_anchor = {x.low, y.low, x.high, y.high};
}

template <class T>
REFINEDET_HD Delta<T> encode(const Box<T>& b, const Box<T>& a, const Delta<T>& variance) {
  const T width = max2(kMinSide<T>, a.x2 - a.x1), height = max2(kMinSide<T>, a.y2 - a.y1);
  const T dx = (b.x1 + b.x2) * T(0.5) - (a.x1 + a.x2) * T(0.5);
  const T dy = (b.y1 + b.y2) * T(0.5) - (a.y1 + a.y2) * T(0.5);
  const T scale_w = log_positive(max2(kMinSide<T>, b.x2 - b.x1) / width);
  const T scale_h = log_positive(max2(kMinSide<T>, b.y2 - b.y1) / height);
  return {clamp(dx / width, -kMaxShift<T>, kMaxShift<T>) / variance.x,
          clamp(dy / height, -kMaxShift<T>, kMaxShift<T>) / variance.y,
          clamp(scale_w, -kMaxLogScale<T>, kMaxLogScale<T>) / variance.w,
          clamp(scale_h, -kMaxLogScale<T>, kMaxLogScale<T>) / variance.h};
}

// One axis of encode: from the gradients of its shift and scale to those of the box's and the anchor's coordinates.
template <class T>
struct EncodeAxisGrad {
  T box_low, box_high, anchor_low, anchor_high;
};

template <class T>
REFINEDET_HD EncodeAxisGrad<T> encode_axis_backward(T g_shift, T g_scale, T b_low, T b_high, T a_low, T a_high,
                                                    T v_shift, T v_scale) {
  const T raw_b = b_high - b_low, raw_a = a_high - a_low;
  const T side_b = max2(kMinSide<T>, raw_b), side_a = max2(kMinSide<T>, raw_a);
  const T shift = ((b_low + b_high) * T(0.5) - (a_low + a_high) * T(0.5)) / side_a;
  const T scale = log_positive(side_b / side_a);
  // a clamped value does not move with what it was made of
  const T open_shift = within(shift, kMaxShift<T>) ? g_shift / v_shift : T(0);
  const T open_scale = within(scale, kMaxLogScale<T>) ? g_scale / v_scale : T(0);
  const T g_center = open_shift / side_a;
  const T g_side_b = raw_b >= kMinSide<T> ? open_scale / side_b : T(0);
  const T g_side_a = raw_a >= kMinSide<T> ? -(open_shift * shift + open_scale) / side_a : T(0);
  return {g_center * T(0.5) - g_side_b, g_center * T(0.5) + g_side_b, g_center * T(-0.5) - g_side_a,
          g_center * T(-0.5) + g_side_a};
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
