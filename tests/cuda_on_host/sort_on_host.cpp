// What stands for csrc/cuda/primitives/sort.cu where kernels run on the CPU.
#include <algorithm>
#include <numeric>
#include <vector>

#include "cuda/primitives/sort.h"

namespace refinedet::cuda {

int64_t radix_sort_workspace(int64_t) { return 1; }

void radix_sort(const uint64_t* keys_in, uint64_t* keys_out, const uint32_t* values_in, uint32_t* values_out,
                int64_t count, int begin_bit, int end_bit, void*, Stream) {
  const uint64_t mask = end_bit - begin_bit < 64 ? (uint64_t{1} << (end_bit - begin_bit)) - 1 : ~uint64_t{0};
  std::vector<int64_t> order(static_cast<size_t>(count));
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [=](int64_t a, int64_t b) {
    return (keys_in[a] >> begin_bit & mask) < (keys_in[b] >> begin_bit & mask);
  });
  for (int64_t i = 0; i < count; ++i) {
    keys_out[i] = keys_in[order[static_cast<size_t>(i)]];
    values_out[i] = values_in[order[static_cast<size_t>(i)]];
  }
}

}  // namespace refinedet::cuda
