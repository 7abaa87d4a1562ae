// The columns of a tile of output pixels, written for torch's product.
//
// Counted for EFGRNet's first level in bfloat16, 8 images of 40 x 40 with 256 channels, 9 taps, 256 outputs: the
// product takes 15 GFLOP (about 25 us) and reads 59 MB of columns, written here (14 us from and to memory each, less
// where the L2 still has them). Each column is blended from four corners: 236 MB of reads, of 6.5 MB of pixels. From
// the L2 that takes 40 us, so a block works on neighbouring pixels, whose corners its L1 has: 10 us. About 100
// instructions per 8 columns, 10 us on all multiprocessors. Hence 16-byte accesses along channels, the GPU's own
// conversions, explicit fused multiply-adds, and samples that are placed once, by one thread each.
//
// A contiguous input is copied to channels last first (pixel_planes.h): 13 MB, 5 us. With threads along pixels instead
// it could be read as it lies, but by 4 loads of 2 bytes per column in place of 4 of 16 bytes per 8: 118 million of
// them, about 50 us.
#include "deform_sampling.h"

namespace refinedet::cuda {
namespace {

// What follows the taps in the lines of a row; the row's first sample sees to it.
template <class T>
__device__ __forceinline__ void fill_lines(const DeformTile& tile, const DeformSplit& split) {
  const int64_t first = tile.geometry.taps() * tile.group_channels();
  const uint32_t per_row = static_cast<uint32_t>(tile.geometry.taps() * tile.geometry.offset_groups);
  const uint32_t index = blockIdx.x * split.samples + threadIdx.x;
  if (first == tile.line || threadIdx.x >= split.samples || index >= split.total || index % per_row != 0) {
    return;
  }
  T* row = static_cast<T*>(tile.columns) + index / per_row * tile.groups * tile.line;
  for (int64_t g = 0; g < tile.groups; ++g, row += tile.line) {
    for (int64_t i = first; i < tile.line; ++i) {
      row[i] = round_to<T>(tile.ones && i == first ? 1.0f : 0.0f);
    }
  }
}

template <class T, int N>
__global__ void __launch_bounds__(kDeformThreads) deform_columns_kernel(DeformTile tile, DeformSplit split) {
  GPU_SHARED(PlacedSample, samples, [kDeformThreads]);
  const uint32_t count = place_samples(tile, split, samples);
  fill_lines<T>(tile, split);
  const uint32_t lane = threadIdx.x & ((1u << split.lane_bits) - 1), step = kDeformThreads >> split.lane_bits;
  T* const columns = static_cast<T*>(tile.columns);
  for (uint32_t s = threadIdx.x >> split.lane_bits; s < count; s += step) {
    const PlacedSample sample = samples[s];
    const CornerWeights<float> weights = weights_of(sample.at);
    for (uint32_t c = lane * N; c < split.sample_channels; c += N << split.lane_bits) {
      float sum[N] = {};
      for_corners<T, N>(tile, split, sample, c,
                        [&](int corner, const float (&values)[N]) { add_scaled(sum, weights.w[corner], values); });
      if (tile.mask.data != nullptr) {
        scale(sum, sample.at.mask);
      }
      store_pack<N, true>(columns + column_of(tile, sample, c), narrow<T>(sum));
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
