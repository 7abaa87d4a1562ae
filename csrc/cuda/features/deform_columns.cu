// The columns of a tile of output pixels, written for a product of cuBLAS.
//
// Counted for EFGRNet's first level in bfloat16, 8 images of 40 x 40 with 256 channels, 9 taps, 256 outputs, on an H200
// (4.8 TB/s, 132 multiprocessors at about 1.7 GHz):
// - written: 59 MB of columns, 12 us, and 6.5 MB of bias where there is one;
// - read: four corners of each column, 236 MB, of 6.5 MB of pixels. From the L2 that would take 40 us, so a block works
//   on neighbouring pixels, whose corners its L1 has: at 128 bytes a cycle 8 us;
// - instructions: 138 for 8 columns, as sm_90's machine code has them: 32 conversions, 32 multiply-adds, 8 that put
//   zeros in place of corners outside the map, 4 roundings to pairs, 10 accesses to memory, the rest addresses. That is
//   30,000 cycles on every scheduler, 18 us.
// So 17 to 20 us are expected, bound by instructions, and 3 to 4 us for one image. That holds while nothing waits: the
// corners of two samples, eight loads, stand before the first use of any (tests/csrc/check_sass.py). One sample after
// the other, with the fourth load behind the use of the others and 218 instructions, it was 28 us. Hence 16-byte
// accesses along channels that stay words until they are used, and samples that are placed once, by one thread each.
//
// A contiguous input is copied to channels last first (pixel_planes.h): 13 MB, 5 us. With threads along pixels instead
// it could be read as it lies, but by 4 loads of 2 bytes per column in place of 4 of 16 bytes per 8: 118 million of
// them, about 50 us.
#include "deform_sampling.h"

namespace refinedet::cuda {
namespace {

// Row `row` of the output begins as the bias.
template <int N, class T>
__device__ __forceinline__ void start_row(const DeformTile& tile, uint32_t row, uint32_t lane, uint32_t lanes) {
  const T* const bias = static_cast<const T*>(tile.bias);
  T* const to = static_cast<T*>(tile.rows) + row * tile.out_channels;
  for (int64_t c = lane * N; c < tile.out_channels; c += lanes * N) {
    store_pack<N, true>(to + c, load_pack<N, true>(bias + c));
  }
}

// What no sample writes of the rows that begin in the block: the bias, and the zeros after the taps in their lines.
template <class T, int N>
__device__ __forceinline__ void fill_rows(const DeformTile& tile, const DeformSplit& split) {
  const int64_t depth = tile.geometry.taps() * split.group_channels;
  if (tile.bias == nullptr && depth == tile.line) {
    return;
  }
  const uint32_t per_row = static_cast<uint32_t>(tile.geometry.taps() * tile.geometry.offset_groups);
  const uint32_t begin = blockIdx.x * split.samples, end = min2(begin + split.samples, split.total);
  const uint32_t lanes = 1u << split.lane_bits, lane = threadIdx.x & (lanes - 1);
  const uint32_t first = (begin + per_row - 1) / per_row + (threadIdx.x >> split.lane_bits);
  for (uint32_t row = first; row * per_row < end; row += kDeformThreads >> split.lane_bits) {
    if (tile.bias != nullptr) {
      split.bias_packs ? start_row<N, T>(tile, row, lane, lanes) : start_row<1, T>(tile, row, lane, lanes);
    }
    T* line = static_cast<T*>(tile.columns) + row * tile.groups * tile.line;
    for (int64_t g = 0; g < tile.groups; ++g, line += tile.line) {
      for (int64_t i = depth + lane; i < tile.line; i += lanes) {
        line[i] = T{};
      }
    }
  }
}

template <class T, int N>
__device__ __forceinline__ void write_columns(const DeformTile& tile, const DeformSplit& split,
                                              const PlacedSample& sample, uint32_t channel,
                                              const Corners<T, N>& corners) {
  float sum[N] = {};
  GPU_UNROLL
  for (int i = 0; i < 4; ++i) {
    float values[N];
    widen(corners.at[i], values);
    add_scaled(sum, sample.weight.w[i], values);
  }
  if (tile.mask.data != nullptr) {
    scale(sum, sample.mask);
  }
  store_pack<N, true>(static_cast<T*>(tile.columns) + column_of(split, sample, channel), narrow<T>(sum));
}

template <class T, int N>
__global__ void __launch_bounds__(kDeformThreads, kDeformBlocks)
    deform_columns_kernel(DeformTile tile, DeformSplit split) {
  GPU_SHARED(PlacedSample, samples, [kDeformThreads]);
  const uint32_t count = place_samples(tile, split, samples);
  fill_rows<T, N>(tile, split);
  const uint32_t lane = threadIdx.x & ((1u << split.lane_bits) - 1), step = kDeformThreads >> split.lane_bits;
  for (uint32_t s = threadIdx.x >> split.lane_bits; s < count; s += 2 * step) {
    const bool two = s + step < count;
    const PlacedSample first = samples[s], second = samples[two ? s + step : s];
    for (uint32_t c = lane * N; c < split.sample_channels; c += N << split.lane_bits) {
      const auto corners = load_corners<T, N>(tile, split, first, c), more = load_corners<T, N>(tile, split, second, c);
      write_columns<T, N>(tile, split, first, c, corners);
      if (two) {
        write_columns<T, N>(tile, split, second, c, more);
      }
    }
  }
}

}  // namespace

void deform_columns(const DeformTile& tile, Stream stream) {
  const DeformSplit split = split_tile(tile);
  if (split.total == 0) {
    return;
  }
  const dim3 blocks(static_cast<unsigned>(divide_up(split.total, split.samples)));
  dispatch_single(tile.dtype, [&]<class T>(Tag<T>) {
    const auto kernel = split.pack > 1 ? deform_columns_kernel<T, kPack<T>> : deform_columns_kernel<T, 1>;
    launch("deform_columns", kernel, blocks, dim3(kDeformThreads), 0, stream, tile, split);
  });
}

}  // namespace refinedet::cuda
