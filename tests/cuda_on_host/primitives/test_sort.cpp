#include <algorithm>
#include <numeric>

#include "cuda/primitives/sort.h"
#include "harness.h"

using namespace refinedet;
using namespace refinedet::harness;

namespace {

// Keys with many ties where `values` are few, and with bits outside the range that must not matter.
void check_sort(int64_t count, int begin_bit, int end_bit, int64_t values) {
  Random random(static_cast<uint64_t>(count + end_bit));
  Array<uint64_t> keys(count), sorted(count), expected(count);
  Array<uint32_t> items(count), sorted_items(count), expected_items(count);
  const uint64_t mask = (uint64_t{1} << (end_bit - begin_bit)) - 1;
  for (int64_t i = 0; i < count; ++i) {
    const uint64_t noise = static_cast<uint64_t>(random.below(int64_t{1} << 62)) * 4;
    const uint64_t key = mask - static_cast<uint64_t>(random.below(values)) % (mask + 1);
    keys[i] = (noise & ~(mask << begin_bit)) | key << begin_bit;
    items[i] = static_cast<uint32_t>(random.below(1000));
  }
  std::vector<int64_t> order(static_cast<size_t>(count));
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(),
                   [&](int64_t a, int64_t b) { return (keys[a] >> begin_bit & mask) < (keys[b] >> begin_bit & mask); });
  for (int64_t i = 0; i < count; ++i) {
    expected[i] = keys[order[static_cast<size_t>(i)]];
    expected_items[i] = items[order[static_cast<size_t>(i)]];
  }
  const Array<char> workspace(cuda::sort_pairs_workspace(count));
  cuda::sort_pairs(keys.data(), sorted.data(), items.data(), sorted_items.data(), count, begin_bit, end_bit,
                   workspace.data(), nullptr);
  expect(std::equal(sorted.begin(), sorted.end(), expected.begin()), "sort_pairs, keys");
  expect_close("sort_pairs, values", sorted_items, expected_items);
}

}  // namespace

CUDA_CASE(sort) {
  check_sort(0, 0, 32, 10);
  for (const int64_t count : {1, 2, 63, 64, 65, 2048}) {
    check_sort(count, 0, 32, count / 2 + 1);
  }
  check_sort(300, 12, 64, int64_t{1} << 52);
  check_sort(300, 40, 41, 2);
  check_sort(300, 7, 7, 1);
  check_sort(2049, 32, 44, 100);
  check_sort(5000, 0, 52, int64_t{1} << 52);
}

CUDA_CASE(sort_many) {
  check_sort(2048 * 9 + 5, 0, 32, 5000);  // more tiles than lanes that look them up
  check_sort(32768 + 1, 0, 32, 5000);
}
