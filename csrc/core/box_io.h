// Reading and writing boxes and deltas of any element type.
#pragma once

#include "box_coding.h"
#include "dtype.h"

namespace refinedet {

template <class T>
REFINEDET_HD Box<Accumulate<T>> load_box(const T* p) {
  return {load(p[0]), load(p[1]), load(p[2]), load(p[3])};
}

template <class T>
REFINEDET_HD Delta<Accumulate<T>> load_delta(const T* p) {
  return {load(p[0]), load(p[1]), load(p[2]), load(p[3])};
}

template <class T>
REFINEDET_HD void store_box(T* p, const Box<Accumulate<T>>& b) {
  p[0] = store<T>(b.x1), p[1] = store<T>(b.y1), p[2] = store<T>(b.x2), p[3] = store<T>(b.y2);
}

template <class T>
REFINEDET_HD void store_delta(T* p, const Delta<Accumulate<T>>& d) {
  p[0] = store<T>(d.x), p[1] = store<T>(d.y), p[2] = store<T>(d.w), p[3] = store<T>(d.h);
}

template <class W>
REFINEDET_HD Delta<W> variance_of(const double* v) {
  return {static_cast<W>(v[0]), static_cast<W>(v[1]), static_cast<W>(v[2]), static_cast<W>(v[3])};
}

}  // namespace refinedet
