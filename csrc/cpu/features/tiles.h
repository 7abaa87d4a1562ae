// What the ops that work tile by tile share: views of their arrays, and the sum over tiles of the weights' gradient.
#pragma once

#include <optional>

#include "core/gemm.h"
#include "core/parallel.h"
#include "cpu/runtime/scratch.h"

namespace refinedet::cpu {

// Arrays of the caller that are only read are passed on in the same views as those that are written.
inline void* unconst(const void* p) { return const_cast<void*>(p); }

inline void* element(const void* p, int64_t index, DType dtype) {
  return static_cast<char*>(unconst(p)) + index * element_size(dtype);
}

// Output or input pixels: some of one image, or all of several images.
struct PixelTile {
  int64_t image, images, pixel, pixels;

  int64_t rows() const { return images * pixels; }
};

// A batch of feature maps: (B, H, W, C) in memory with channels_last, else (B, C, H, W).
struct FeatureMaps {
  void* data;
  DType dtype;
  int64_t channels, pixels;
  bool channels_last;

  // Some channels of some pixels where they lie: a matrix (pixel, channel) per image.
  Matrix matrix(const PixelTile& tile, int64_t channel, int64_t count) const;
};

// Rows of `channels` side by side.
Matrix packed_rows(void* data, DType dtype, const PixelTile& tile, int64_t channels);

void clear(void* data, int64_t bytes, const ParallelFor& parallel);

// to = from in its own layout; what is too large for a half type becomes infinite.
void round_matrix(const Matrix& from, const Matrix& to, const ParallelFor& parallel);

// to[i] = from[i], for any two types.
void round_values(const void* from, DType from_dtype, void* to, DType to_dtype, int64_t count);

// The weights' gradient: the sum over tiles of a product.
class WeightGrad {
 public:
  struct Layout {
    Matrix product;   // of a tile, dense; without memory
    Matrix result;    // the gradient, or the part of it that is summed here
    bool same_order;  // `result` is in the order of `product`, so that only types differ
    // Each tile's product is written apart and added in the accumulate type, as half types must be, whose products are
    // rounded. Else products add up by themselves.
    bool apart;
  };

  explicit WeightGrad(const Layout& layout);

  void add_tile(const Matrix& a, const Matrix& b, const Gemm& gemm, const ParallelFor& parallel);
  void write(const ParallelFor& parallel) const;  // after the last tile

 private:
  Layout layout_;
  Matrix sum_;
  bool first_ = true;
  std::optional<Scratch> product_memory_, sum_memory_;
};

}  // namespace refinedet::cpu
