// What the kernels on samples share: which samples a block has, where they read, and which lanes have which channels.
//
// A block takes some samples (pixel, tap, offset group), in that order: neighbours read neighbouring pixels, from L1
// mostly. First each thread places one sample in shared memory. Then groups of `lanes` threads take a sample at a time,
// with N channels per thread and access, so that one set of weights serves all channels.
#pragma once

#include "cuda/primitives/convert.h"
#include "deform_tile.h"

namespace refinedet::cuda {

inline constexpr int kDeformThreads = 256;

// Blocks of a multiprocessor at least: so each thread has 80 registers. Without a word the compiler aims at 64 for the
// sake of a fourth block, and reads the corners one after the other.
inline constexpr int kDeformBlocks = 3;

struct DeformSplit {
  uint32_t total;            // samples of the tile
  uint32_t samples;          // of a block
  int lane_bits;             // 2^lane_bits threads work on a sample
  int64_t image;             // of the first pixel of the tile
  uint32_t pixel;            // its number in that image
  uint32_t channels;         // of a pixel
  uint32_t pixel_bytes;      // of these
  uint32_t group_channels;   // of its groups
  int64_t line;              // of the tile
  uint32_t sample_channels;  // channels that share a sample
  int pack;                  // channels of a thread: 1 or 16 bytes
  bool bias_packs;           // the bias and the rows are accessed so too
};

inline DeformSplit split_tile(const DeformTile& tile) {
  const DeformGeometry& g = tile.geometry;
  const int64_t size = tile.dtype == DType::f32 ? 4 : 2, pack = 16 / size;
  const int64_t channels = tile.channels / g.offset_groups;
  const bool packed = channels % pack == 0 && tile.group_channels() % pack == 0 && is_aligned(tile.source, 16) &&
                      is_aligned(tile.columns, 16);
  DeformSplit split{};
  split.total = static_cast<uint32_t>(tile.range.count * g.taps() * g.offset_groups);
  split.image = tile.range.begin / g.out_pixels();
  split.pixel = static_cast<uint32_t>(tile.range.begin % g.out_pixels());
  split.channels = static_cast<uint32_t>(tile.channels);
  split.pixel_bytes = static_cast<uint32_t>(tile.channels * size);
  split.group_channels = static_cast<uint32_t>(tile.group_channels());
  split.line = tile.line;
  split.sample_channels = static_cast<uint32_t>(channels);
  split.pack = packed ? static_cast<int>(pack) : 1;
  split.bias_packs = packed && tile.out_channels % pack == 0 && is_aligned(tile.bias, 16) && is_aligned(tile.rows, 16);
  while (split.lane_bits < 5 && (split.pack << split.lane_bits) < channels) {
    ++split.lane_bits;
  }
  // some blocks per multiprocessor, if that leaves each thread a sample or more
  const uint32_t blocks = 4 * static_cast<uint32_t>(multiprocessors()), least = kDeformThreads >> split.lane_bits;
  split.samples = kDeformThreads;
  while (split.samples > max2<uint32_t>(least, 8) && split.total / split.samples < blocks) {
    split.samples /= 2;
  }
  return split;
}

struct alignas(16) PlacedSample {
  int32_t corner[4];            // as in DeformSample
  CornerWeights<float> weight;  // without the mask
  int64_t source;               // index of the first channel that reads so in the image's pixel 0
  int64_t column;               // index of the tap's first column
  uint32_t channel;             // that first channel
  float ly, lx, mask;

  __device__ __forceinline__ DeformSample<float> at() const {
    return {{corner[0], corner[1], corner[2], corner[3]}, ly, lx, mask};
  }
};

__device__ __forceinline__ float load_map(const DeformMap& map, int64_t index, float missing) {
  return map.data == nullptr ? missing : load_as(map.dtype, map.data, index);
}

__device__ __forceinline__ PlacedSample place_sample(const DeformTile& tile, const DeformSplit& split, uint32_t index) {
  const DeformGeometry& g = tile.geometry;
  const uint32_t groups = static_cast<uint32_t>(g.offset_groups), taps = static_cast<uint32_t>(g.taps());
  const uint32_t pixels = static_cast<uint32_t>(g.out_pixels()), width = static_cast<uint32_t>(g.out_width);
  const uint32_t group = index % groups, tap = index / groups % taps, row = index / groups / taps;
  const uint32_t pixel = (split.pixel + row) % pixels;
  const int64_t image = split.image + (split.pixel + row) / pixels;
  const uint32_t tap_y = tap / static_cast<uint32_t>(g.kernel_w), tap_x = tap % static_cast<uint32_t>(g.kernel_w);
  const int64_t center = 2 * (image * groups + group) * pixels + pixel;
  const int64_t mask = ((image * groups + group) * taps + tap) * pixels + pixel, offset = 2 * mask - pixel;
  const float y = deform_position(static_cast<float>(pixel / width * g.stride_y - g.pad_y),
                                  static_cast<float>(tap_y * g.dilation_y), load_map(tile.offset, offset, 0),
                                  load_map(tile.center, center, 0));
  const float x = deform_position(static_cast<float>(pixel % width * g.stride_x - g.pad_x),
                                  static_cast<float>(tap_x * g.dilation_x), load_map(tile.offset, offset + pixels, 0),
                                  load_map(tile.center, center + pixels, 0));
  PlacedSample placed;
  const DeformSample<float> at = sample_at(y, x, load_map(tile.mask, mask, 1), g.height, g.width);
  GPU_UNROLL
  for (int i = 0; i < 4; ++i) {
    placed.corner[i] = at.corner[i];
  }
  placed.weight = weights_of(at);
  placed.ly = at.ly, placed.lx = at.lx, placed.mask = at.mask;
  placed.channel = group * split.sample_channels;
  placed.source = (image - tile.first_image) * g.in_pixels() * tile.channels + placed.channel;
  placed.column = static_cast<int64_t>(row) * tile.groups * tile.line + int64_t{tap} * split.group_channels;
  return placed;
}

// Places the samples of the block and returns how many there are.
__device__ __forceinline__ uint32_t place_samples(const DeformTile& tile, const DeformSplit& split,
                                                  PlacedSample* samples) {
  const uint32_t begin = blockIdx.x * split.samples, count = min2(split.samples, split.total - begin);
  if (threadIdx.x < count) {
    samples[threadIdx.x] = place_sample(tile, split, begin + threadIdx.x);
  }
  __syncthreads();
  return count;
}

// Index of the column of a sample's channel.
__device__ __forceinline__ int64_t column_of(const DeformSplit& split, const PlacedSample& sample, uint32_t channel) {
  channel += sample.channel;
  if (split.group_channels == split.channels) {
    return sample.column + channel;
  }
  return sample.column + channel / split.group_channels * split.line + channel % split.group_channels;
}

// Index of a corner's channel in the images.
__device__ __forceinline__ int64_t corner_index(const DeformSplit& split, const PlacedSample& sample, int corner,
                                                uint32_t channel) {
  return sample.source + channel + int64_t{sample.corner[corner]} * split.channels;
}

// The address of a corner that there is. `source`: of the channel in the image's pixel 0.
template <class T>
__device__ __forceinline__ const T* corner_address(const DeformSplit& split, const PlacedSample& sample, int corner,
                                                   const T* source) {
#if defined(__CUDA_ARCH__)
  // One instruction, where the compiler makes three of a product of 64 bits and a sum.
  const T* address;
  asm("mad.wide.u32 %0, %1, %2, %3;" : "=l"(address) : "r"(sample.corner[corner]), "r"(split.pixel_bytes), "l"(source));
  return address;
#else
  return source + int64_t{sample.corner[corner]} * split.channels;
#endif
}

// The four pixels' channels from the sample's `channel` on: zeros outside the map. All are read before any is used, so
// that they are on their way together.
template <class T, int N>
struct Corners {
  RawPack<T, N> at[4];
};

template <class T, int N>
__device__ __forceinline__ Corners<T, N> load_corners(const DeformTile& tile, const DeformSplit& split,
                                                      const PlacedSample& sample, uint32_t channel) {
  const T* source = static_cast<const T*>(tile.source) + sample.source + channel;
#if defined(__CUDA_ARCH__)
  asm volatile("" : "+l"(source));  // or it is computed again for each corner
#endif
  Corners<T, N> corners;
  GPU_UNROLL
  for (int i = 0; i < 4; ++i) {
    corners.at[i] = RawPack<T, N>{};
    if (sample.corner[i] >= 0) {
      corners.at[i] = load_raw<N>(corner_address(split, sample, i, source));
    }
  }
  return corners;
}

// sum += weight * values
template <int N>
__device__ __forceinline__ void add_scaled(float (&sum)[N], float weight, const float (&values)[N]) {
  GPU_UNROLL
  for (int i = 0; i < N; ++i) {
    sum[i] = __fmaf_rn(weight, values[i], sum[i]);
  }
}

template <int N>
__device__ __forceinline__ void scale(float (&sum)[N], float by) {
  GPU_UNROLL
  for (int i = 0; i < N; ++i) {
    sum[i] *= by;
  }
}

}  // namespace refinedet::cuda
