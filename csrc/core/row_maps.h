// What the coding ops do to one row of their arrays: f(in, out) on quads, the same on the host and on the device. The
// anchors are the last of their inputs; f.near() is the same for anchors that are near (box_coding.h).
#pragma once

#include "box_io.h"

namespace refinedet {

// A box or a delta, whichever the caller takes it for.
template <class W>
struct Quad {
  W x, y, z, w;

  Quad() = default;
  REFINEDET_HD Quad(W x, W y, W z, W w) : x(x), y(y), z(z), w(w) {}
  REFINEDET_HD Quad(const Box<W>& b) : x(b.x1), y(b.y1), z(b.x2), w(b.y2) {}
  REFINEDET_HD Quad(const Delta<W>& d) : x(d.x), y(d.y), z(d.w), w(d.h) {}
  REFINEDET_HD operator Box<W>() const { return {x, y, z, w}; }
  REFINEDET_HD operator Delta<W>() const { return {x, y, z, w}; }
};

// Where coordinates are clipped to; infinitely far away without clipping, so that loops need no branch.
template <class W>
struct ClipTo {
  W low, right, bottom;

  REFINEDET_HD ClipTo(bool clip, double width, double height) : low(0), right(0), bottom(0) {
    const W inf = static_cast<W>(__builtin_huge_val());
    low = clip ? W(0) : -inf;
    right = clip ? static_cast<W>(width) : inf;
    bottom = clip ? static_cast<W>(height) : inf;
  }

  REFINEDET_HD Box<W> clip(const Box<W>& b) const {
    return {clamp(b.x1, low, right), clamp(b.y1, low, bottom), clamp(b.x2, low, right), clamp(b.y2, low, bottom)};
  }

  // A clipped coordinate does not move with its box.
  REFINEDET_HD Box<W> gradient(const Box<W>& grad, const Box<W>& b) const {
    return {open(grad.x1, b.x1, right), open(grad.y1, b.y1, bottom), open(grad.x2, b.x2, right),
            open(grad.y2, b.y2, bottom)};
  }

 private:
  REFINEDET_HD W open(W grad, W x, W high) const { return (x < low) | (x > high) ? W(0) : grad; }
};

// deltas, anchors -> boxes
template <class W, Range range = Range::any>
struct DecodeRow {
  Delta<W> variance;
  ClipTo<W> to;

  REFINEDET_HD DecodeRow<W, Range::near> near() const { return {variance, to}; }
  REFINEDET_HD void operator()(const Quad<W>* in, Quad<W>* out) const {
    out[0] = to.clip(decode<W, range>(in[0], in[1], variance));
  }
};

// gradient of the boxes, deltas, anchors -> gradients of the deltas and of the anchors
template <class W, Range range = Range::any>
struct DecodeBackwardRow {
  Delta<W> variance;
  ClipTo<W> to;

  REFINEDET_HD DecodeBackwardRow<W, Range::near> near() const { return {variance, to}; }
  REFINEDET_HD void operator()(const Quad<W>* in, Quad<W>* out) const {
    const Box<W> grad = to.gradient(in[0], decode<W, range>(in[1], in[2], variance));
    Delta<W> grad_delta;
    Box<W> grad_anchor;
    decode_backward<W, range>(grad, in[1], in[2], variance, grad_delta, grad_anchor);
    out[0] = grad_delta;
    out[1] = grad_anchor;
  }
};

// boxes, anchors -> deltas
template <class W>
struct EncodeRow {
  Delta<W> variance;

  REFINEDET_HD void operator()(const Quad<W>* in, Quad<W>* out) const { out[0] = encode<W>(in[0], in[1], variance); }
};

// gradient of the deltas, boxes, anchors -> gradients of the boxes and of the anchors
template <class W>
struct EncodeBackwardRow {
  Delta<W> variance;

  REFINEDET_HD void operator()(const Quad<W>* in, Quad<W>* out) const {
    Box<W> grad_box, grad_anchor;
    encode_backward<W>(in[0], in[1], in[2], variance, grad_box, grad_anchor);
    out[0] = grad_box;
    out[1] = grad_anchor;
  }
};

// ARM deltas, ODM deltas, anchors -> boxes
template <class W, Range range = Range::any>
struct CascadeRow {
  Delta<W> variance;

  REFINEDET_HD CascadeRow<W, Range::near> near() const { return {variance}; }
  REFINEDET_HD void operator()(const Quad<W>* in, Quad<W>* out) const {
    out[0] = decode<W, range>(in[1], decode<W, range>(in[0], in[2], variance), variance);
  }
};

// gradient of the boxes, ARM deltas, ODM deltas, anchors -> gradients of the latter three
template <class W, Range range = Range::any>
struct CascadeBackwardRow {
  Delta<W> variance;

  REFINEDET_HD CascadeBackwardRow<W, Range::near> near() const { return {variance}; }
  REFINEDET_HD void operator()(const Quad<W>* in, Quad<W>* out) const {
    const Delta<W> arm = in[1], odm = in[2];
    const Box<W> anchor = in[3];
    Delta<W> grad_arm, grad_odm;
    Box<W> grad_refined, grad_anchor;
    decode_backward<W, range>(in[0], odm, decode<W, range>(arm, anchor, variance), variance, grad_odm, grad_refined);
    decode_backward<W, range>(grad_refined, arm, anchor, variance, grad_arm, grad_anchor);
    out[0] = grad_arm;
    out[1] = grad_odm;
    out[2] = grad_anchor;
  }
};

}  // namespace refinedet
