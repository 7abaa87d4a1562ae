// The bias's gradient of deconv_sum. Floor: one reading of a map, of which some 4096 elements at most are added up
// before a partial sum is written; two launches.
//
// No atomics: partial sums per part of the map, then the sum over the parts, both in a fixed order.
#include "cuda/primitives/pack.h"
#include "deconv_tile.h"

namespace refinedet::cuda {
namespace {

constexpr int kRows = 8;            // warps of a block, which share out the rows of a part
constexpr int64_t kSegment = 2048;  // elements of a plane that a warp adds up
constexpr int64_t kMinPart = 32;    // rows of a channels-last map that a block adds up, at least
constexpr int64_t kMostParts = 512;

int64_t segments_of(int64_t pixels) { return divide_up(pixels, kSegment); }
int64_t parts_of(const DeconvBiasArgs& args) {
  return args.channels_last ? min2(divide_up(args.batch * args.pixels, kMinPart), kMostParts)
                            : args.batch * segments_of(args.pixels);
}

template <class W>
__device__ __forceinline__ W sum_of_warp(W x) {
  GPU_UNROLL
  for (int step = kWarp / 2; step > 0; step /= 2) {
    x += __shfl_xor_sync(kAllLanes, x, step);
  }
  return x;
}

// partial[image * segments + segment][channel] from planes: a warp per segment of a plane.
template <int n, class T>
__global__ void sum_planes_kernel(const T* __restrict__ grad, Accumulate<T>* __restrict__ partial, int64_t batch,
                                  int64_t channels, int64_t pixels, int64_t segments) {
  const int64_t total = batch * channels * segments;
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  for (int64_t i = grid_first() / kWarp; i < total; i += grid_step() / kWarp) {
    const int64_t segment = i % segments, plane = i / segments;
    const int64_t begin = segment * kSegment, end = min2(begin + kSegment, pixels);
    Accumulate<T> sum[n] = {};
    for (int64_t p = begin + lane * n; p < end; p += kWarp * n) {
      const auto pack = load_pack<n, true>(grad + plane * pixels + p);
      GPU_UNROLL
      for (int e = 0; e < n; ++e) {
        sum[e] += load(pack.at[e]);
      }
    }
    GPU_UNROLL
    for (int e = 1; e < n; ++e) {
      sum[0] += sum[e];
    }
    const Accumulate<T> all = sum_of_warp(sum[0]);
    if (lane == 0) {
      partial[(plane / channels * segments + segment) * channels + plane % channels] = all;
    }
  }
}

// Adds up what the block's warps have of n channels per lane; sums[lane * n + e] of all lanes lie side by side.
template <int n, class W>
__device__ __forceinline__ W sum_of_rows(const W (*sums)[kWarp * n], int column) {
  W sum = 0;
  GPU_UNROLL
  for (int row = 0; row < kRows; ++row) {
    sum += sums[row][column];
  }
  return sum;
}

// partial[part][channel] from pixels of channels: a block per part of the pixels and 32 packs of channels.
template <int n, class T>
__global__ void sum_pixels_kernel(const T* __restrict__ grad, Accumulate<T>* __restrict__ partial, int64_t channels,
                                  int64_t pixels, int64_t per_part) {
  GPU_SHARED(Accumulate<T>, sums, [kRows][kWarp * n]);
  const int lane = static_cast<int>(threadIdx.x), row = static_cast<int>(threadIdx.y);
  const int64_t first = static_cast<int64_t>(blockIdx.x) * kWarp * n, channel = first + lane * n;
  const int64_t begin = blockIdx.y * per_part, end = min2(begin + per_part, pixels);
  Accumulate<T> sum[n] = {};
  for (int64_t p = begin + row; channel < channels && p < end; p += kRows) {
    const auto pack = load_pack<n, true>(grad + p * channels + channel);
    GPU_UNROLL
    for (int e = 0; e < n; ++e) {
      sum[e] += load(pack.at[e]);
    }
  }
  GPU_UNROLL
  for (int e = 0; e < n; ++e) {
    sums[row][lane * n + e] = sum[e];
  }
  __syncthreads();
  for (int column = row * kWarp + lane; column < kWarp * n; column += kRows * kWarp) {
    if (first + column < channels) {
      partial[blockIdx.y * channels + first + column] = sum_of_rows<n>(sums, column);
    }
  }
}

template <class T>
__global__ void sum_parts_kernel(const Accumulate<T>* __restrict__ partial, T* __restrict__ grad_bias, int64_t channels,
                                 int64_t parts) {
  GPU_SHARED(Accumulate<T>, sums, [kRows][kWarp]);
  const int lane = static_cast<int>(threadIdx.x), row = static_cast<int>(threadIdx.y);
  const int64_t channel = static_cast<int64_t>(blockIdx.x) * kWarp + lane;
  Accumulate<T> sum = 0;
  for (int64_t part = row; channel < channels && part < parts; part += kRows) {
    sum += partial[part * channels + channel];
  }
  sums[row][lane] = sum;
  __syncthreads();
  if (row == 0 && channel < channels) {
    grad_bias[channel] = round_to<T>(sum_of_rows<1>(sums, lane));
  }
}

// f(count) with the widest packs into which `line` elements from `p` on can be cut.
template <class T, class F>
REFINEDET_HOST void with_packs(const T* p, int64_t line, const F& f) {
  constexpr int n = kPack<T>;
  if (is_aligned(p, 16) && line % n == 0) {
    f(std::integral_constant<int, n>{});
  } else {
    f(std::integral_constant<int, 1>{});
  }
}

unsigned blocks(int64_t n) { return static_cast<unsigned>(n); }

}  // namespace

int64_t deconv_bias_workspace(const DeconvBiasArgs& args) {
  const int64_t size = args.dtype == DType::f64 ? sizeof(double) : sizeof(float);
  return parts_of(args) * args.channels * size;
}

void deconv_bias(const DeconvBiasArgs& args, void* workspace, Stream stream) {
  if (args.channels == 0) {
    return;
  }
  dispatch_floating(args.dtype, [&]<class T>(Tag<T>) {
    const T* const grad = static_cast<const T*>(args.grad);
    Accumulate<T>* const partial = static_cast<Accumulate<T>*>(workspace);
    const int64_t parts = parts_of(args), channels = args.channels, pixels = args.pixels;
    const dim3 block(kWarp, kRows);
    if (parts > 0 && args.channels_last) {
      const int64_t rows = args.batch * pixels, per_part = divide_up(rows, parts);
      with_packs(grad, channels, [&]<int n>(std::integral_constant<int, n>) {
        const dim3 grid(blocks(divide_up(channels, kWarp * n)), blocks(parts));
        launch("deconv_bias", sum_pixels_kernel<n, T>, grid, block, 0, stream, grad, partial, channels, rows, per_part);
      });
    } else if (parts > 0) {
      with_packs(grad, pixels, [&]<int n>(std::integral_constant<int, n>) {
        launch("deconv_bias", sum_planes_kernel<n, T>, blocks_for(parts * channels, kRows), dim3(kWarp * kRows), 0,
               stream, grad, partial, args.batch, channels, pixels, segments_of(pixels));
      });
    }
    launch("deconv_bias", sum_parts_kernel<T>, dim3(blocks(divide_up(channels, kWarp))), block, 0, stream, partial,
           static_cast<T*>(args.grad_bias), channels, parts);
  });
}

}  // namespace refinedet::cuda
