// Matrices as they lie in memory, and how a kernel asks for products of them without knowing whose these are: the torch
// ops hand it torch's own, a test a plain loop.
#pragma once

#include "dtype.h"

namespace refinedet {

// `count` matrices of one size, by their strides in elements. What a function is to write says the function.
struct Matrix {
  void* data;
  DType dtype;
  int64_t count, rows, columns;
  int64_t matrix_stride, row_stride, column_stride;

  REFINEDET_HD Matrix transposed() const {
    return {data, dtype, count, columns, rows, matrix_stride, column_stride, row_stride};
  }
};

// One matrix whose rows lie one after the other.
REFINEDET_HD Matrix dense_matrix(void* data, DType dtype, int64_t rows, int64_t columns) {
  return {data, dtype, 1, rows, columns, rows * columns, columns, 1};
}

// Matrix products of one element type. Each matrix may have any stride between its rows if it has 1 between its
// columns, or the reverse; of several, one with a matrix stride of 0 serves all.
class Gemm {
 public:
  using Product = void (*)(void* context, const Matrix& a, const Matrix& b, const Matrix& out, bool add);

  // `tf32`: float32 products on a GPU round their factors to TF32. A kernel that multiplies on its own does so too.
  Gemm(Product product, void* context, bool tf32 = false) : product_(product), context_(context), tf32_(tf32) {}

  // out = a b
  void write(const Matrix& a, const Matrix& b, const Matrix& out) const { product_(context_, a, b, out, false); }
  // out += a b
  void add(const Matrix& a, const Matrix& b, const Matrix& out) const { product_(context_, a, b, out, true); }
  bool tf32() const { return tf32_; }

 private:
  Product product_;
  void* context_;
  bool tf32_;
};

}  // namespace refinedet
