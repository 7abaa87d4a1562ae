// Rows that a warp has in shared memory, gone through again after they have been written.
#include "core/dtype.h"
#include "cuda/losses/row_tile.h"
#include "harness.h"

using namespace refinedet;
using namespace refinedet::cuda;
using namespace refinedet::harness;

namespace {

constexpr unsigned kRows = 0xfedcba97u;  // those that count

template <class T>
__global__ void map_and_sum_kernel(const T* table, int64_t columns, T* mapped, float* sums) {
  GPU_DYNAMIC_SHARED(T, tile);
  RowTile<T> rows(table, columns, kRows, tile);
  rows.map(mapped, [](int64_t column, float x) { return x + static_cast<float>(column); });
  float sum = 0;
  rows.each([&](int64_t, float x) { sum += x; });
  sums[lane_id()] = sum;
}

// Small integers, exact in every type.
template <class T>
void check(int64_t columns) {
  Random random(static_cast<uint64_t>(columns));
  Array<T> table(kWarp * columns), mapped(kWarp * columns), expected(kWarp * columns);
  Array<float> sums(kWarp), expected_sums(kWarp);
  for (int64_t i = 0; i < table.size(); ++i) {
    const int64_t row = i / columns, column = i % columns;
    const bool counts = (kRows >> row & 1u) != 0;
    const auto x = static_cast<float>(random.below(8));
    table[i] = store<T>(x);
    mapped[i] = store<T>(-1.0f);  // stays where the row does not count
    expected[i] = store<T>(counts ? x + static_cast<float>(column) : -1.0f);
    expected_sums[row] = (column == 0 ? 0.0f : expected_sums[row]) + (counts ? x : 0.0f);
  }
  launch("map_and_sum", map_and_sum_kernel<T>, dim3(1), dim3(kWarp), RowTile<T>::bytes_for(columns), nullptr,
         static_cast<const T*>(table.data()), columns, mapped.data(), sums.data());
  expect_close("rows written", mapped, expected);
  expect_close("rows read after that", sums, expected_sums);
}

}  // namespace

CUDA_CASE(row_tile_is_read_again) {
  for_dtypes([]<class T>(Tag<T>) {
    check<T>(5);
    check<T>(RowTile<T>::kColumns);
    check<T>(RowTile<T>::kColumns + 3);
  });
}
