// The only file with CUB, which stands for the sort of many pairs. It takes no part in the tests that run kernels on
// the CPU; tests/cuda_on_host/sort_on_host.cpp stands for it there.
//
// A pass of 8 bits reads and writes 12 bytes a pair; 200,000 pairs by 32 bits, four passes, are 19 MB, 4 us: the six
// launches and more are the time, 20 to 25 us expected on an H200.
#include <cub/device/device_radix_sort.cuh>

#include "device.h"
#include "sort.h"

namespace refinedet::cuda {

int64_t radix_sort_workspace(int64_t count) {
  size_t bytes = 0;
  check(cub::DeviceRadixSort::SortPairs<uint64_t, uint32_t>(nullptr, bytes, nullptr, nullptr, nullptr, nullptr, count),
        "radix_sort_workspace");
  return static_cast<int64_t>(bytes);
}

void radix_sort(const uint64_t* keys_in, uint64_t* keys_out, const uint32_t* values_in, uint32_t* values_out,
                int64_t count, int begin_bit, int end_bit, void* workspace, Stream stream) {
  size_t bytes = static_cast<size_t>(radix_sort_workspace(count));
  check(cub::DeviceRadixSort::SortPairs(workspace, bytes, keys_in, keys_out, values_in, values_out, count, begin_bit,
                                        end_bit, stream),
        "radix_sort");
}

}  // namespace refinedet::cuda
