// Stable sorts of pairs.
#pragma once

#include <cstdint>

#include "core/stream.h"

namespace refinedet::cuda {

// Bytes of workspace that sorting `count` pairs takes; asks the current device.
int64_t sort_pairs_workspace(int64_t count);

// Sorts by the bits [begin_bit, end_bit) of the keys, at most kSortBits of them, rising; pairs that are equal there
// stay in order. The outputs are other arrays than the inputs; `workspace` is aligned to 256 bytes.
inline constexpr int kSortBits = 52;
void sort_pairs(const uint64_t* keys_in, uint64_t* keys_out, const uint32_t* values_in, uint32_t* values_out,
                int64_t count, int begin_bit, int end_bit, void* workspace, Stream stream);

// The part of it for many pairs: the GPU's radix sort, of any number of bits (sort.cu; in the tests that run kernels on
// the CPU a plain sort). sort_pairs is the one to call.
int64_t radix_sort_workspace(int64_t count);
void radix_sort(const uint64_t* keys_in, uint64_t* keys_out, const uint32_t* values_in, uint32_t* values_out,
                int64_t count, int begin_bit, int end_bit, void* workspace, Stream stream);

}  // namespace refinedet::cuda
