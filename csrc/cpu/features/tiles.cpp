#include "tiles.h"

#include <cstring>

#include "copy_matrices.h"

namespace refinedet::cpu {

Matrix FeatureMaps::matrix(const PixelTile& tile, int64_t channel, int64_t count) const {
  const int64_t row = channels_last ? channels : 1, column = channels_last ? 1 : pixels;
  const int64_t first = tile.image * channels * pixels + tile.pixel * row + channel * column;
  return {element(data, first, dtype), dtype, tile.images, tile.pixels, count, channels * pixels, row, column};
}

Matrix packed_rows(void* data, DType dtype, const PixelTile& tile, int64_t channels) {
  return {data, dtype, tile.images, tile.pixels, channels, tile.pixels * channels, channels, 1};
}

void clear(void* data, int64_t bytes, const ParallelFor& parallel) {
  constexpr int64_t kGrain = int64_t{256} << 10;
  parallel(bytes, kGrain, [&](int64_t begin, int64_t end) {
    std::memset(static_cast<char*>(data) + begin, 0, static_cast<size_t>(end - begin));
  });
}

void round_matrix(const Matrix& from, const Matrix& to, const ParallelFor& parallel) {
  copy_matrices({.from = from, .to = to, .add = false, .overflow = true}, parallel);
}

void round_values(const void* from, DType from_dtype, void* to, DType to_dtype, int64_t count) {
  dispatch_floating(from_dtype, [&]<class From>(Tag<From>) {
    dispatch_floating(to_dtype, [&]<class To>(Tag<To>) {
      for (int64_t i = 0; i < count; ++i) {
        static_cast<To*>(to)[i] = round_to<To>(static_cast<Accumulate<To>>(load(static_cast<const From*>(from)[i])));
      }
    });
  });
}

WeightGrad::WeightGrad(const Layout& layout) : layout_(layout), sum_(layout.product) {
  Matrix& product = layout_.product;
  const int64_t size = product.count * product.rows * product.columns;
  sum_.dtype = layout.apart ? accumulate_type(product.dtype) : product.dtype;
  const bool in_place = layout.same_order && layout.result.dtype == sum_.dtype;
  if (layout.apart) {
    product_memory_.emplace(size * element_size(product.dtype), "a tile's part of the weights' gradient");
    product.data = product_memory_->data();
  }
  if (!in_place) {
    sum_memory_.emplace(size * element_size(sum_.dtype), "the sum of the weights' gradient");
  }
  sum_.data = in_place ? layout.result.data : sum_memory_->data();
}

void WeightGrad::add_tile(const Matrix& a, const Matrix& b, const Gemm& gemm, const ParallelFor& parallel) {
  if (layout_.apart) {
    gemm.write(a, b, layout_.product);
    copy_matrices({.from = layout_.product, .to = sum_, .add = !first_, .overflow = true}, parallel);
  } else if (first_) {
    gemm.write(a, b, sum_);
  } else {
    gemm.add(a, b, sum_);
  }
  first_ = false;
}

void WeightGrad::write(const ParallelFor& parallel) const {
  if (!sum_memory_) {
    return;
  }
  const Matrix& result = layout_.result;
  if (layout_.same_order) {
    Matrix to = sum_;
    to.data = result.data;
    to.dtype = result.dtype;
    return round_matrix(sum_, to, parallel);
  }
  round_matrix({sum_.data, sum_.dtype, result.count, result.rows, result.columns, result.rows * result.columns,
                result.columns, 1},
               result, parallel);
}

}  // namespace refinedet::cpu
