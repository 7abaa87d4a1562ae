// From the gradient of a tile's columns to those of its samples and of the pixels that they read.
//
// Counted for the case in deform_columns.cu (29 million columns): the two products take twice the forward's, 50 us;
// they write the columns' gradient and read the columns, 59 MB each, and this kernel goes through them once more, for
// all that it is asked at once: the corners' products with the gradient, the gradient added to the corners, and the
// columns put in the gradient's place. What bounds it are the additions, 118 million floats to 1.6 million: 4 at a time
// where the GPU can (sm_90), 29 million requests to the L2, some 100 us. torchvision adds the same floats one by one,
// and reads the columns once for each of 18 offsets.
//
// The four corners are read together, as in deform_columns.cu: up to three of them would wait for the one before.
//
// Floating-point additions to memory come in any order. For sums that are always the same the addends become integers
// in units of 2^-shift (deform_fixed_point.cu), which add up exactly.
#include "deform_sampling.h"

namespace refinedet::cuda {
namespace {

// The tile's gradients as the kernel is to find them.
struct Wanted {
  bool corners;  // their products, or the columns
  DeformGrads grads;
};

template <int N>
__device__ __forceinline__ float dot_product(const float (&a)[N], const float (&b)[N]) {
  float sum = 0;
  GPU_UNROLL
  for (int i = 0; i < N; ++i) {
    sum = __fmaf_rn(a[i], b[i], sum);
  }
  return sum;
}

__device__ __forceinline__ void add_four(float* to, float a, float b, float c, float d) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
  asm volatile("red.relaxed.gpu.global.add.v4.f32 [%0], {%1, %2, %3, %4};" ::"l"(__cvta_generic_to_global(to)), "f"(a),
               "f"(b), "f"(c), "f"(d)
               : "memory");
#else
  atomicAdd(to, a);
  atomicAdd(to + 1, b);
  atomicAdd(to + 2, c);
  atomicAdd(to + 3, d);
#endif
}

// to += weight * values
template <int N>
__device__ __forceinline__ void add_floats(float* to, float weight, const float (&values)[N]) {
  if constexpr (N % 4 == 0) {
    GPU_UNROLL
    for (int i = 0; i < N; i += 4) {
      add_four(to + i, weight * values[i], weight * values[i + 1], weight * values[i + 2], weight * values[i + 3]);
    }
  } else {
    GPU_UNROLL
    for (int i = 0; i < N; ++i) {
      atomicAdd(to + i, weight * values[i]);
    }
  }
}

template <int N>
__device__ __forceinline__ void add_integers(int64_t* to, float weight, const float (&values)[N], FixedPoint* fixed) {
  constexpr float kLimit = 4611686018427387904.0f;  // 2^62: no addend gets there that is finite
  const float first = fixed->up[0], second = fixed->up[1];
  GPU_UNROLL
  for (int i = 0; i < N; ++i) {
    const float x = weight * values[i] * first * second;
    const bool finite = x > -kLimit && x < kLimit;
    if (!finite) {
      atomicExch(&fixed->poisoned, 1);
    }
    atomicAdd(reinterpret_cast<unsigned long long*>(to + i), static_cast<unsigned long long>(finite ? llrintf(x) : 0));
  }
}

template <class T, int N>
__device__ __forceinline__ void process_channels(const DeformTile& tile, const DeformSplit& split, const Wanted& wanted,
                                                 const PlacedSample& sample, uint32_t channel, float (&dot)[4]) {
  T* const columns = static_cast<T*>(tile.columns) + column_of(split, sample, channel);
  float grad[N];
  widen(load_pack<N, true>(columns), grad);
  if (wanted.corners) {
    const Corners<T, N> corners = load_corners<T, N>(tile, split, sample, channel);
    float sum[N] = {};
    GPU_UNROLL
    for (int i = 0; i < 4; ++i) {
      float values[N];
      widen(corners.at[i], values);
      dot[i] += dot_product(grad, values);
      add_scaled(sum, sample.weight.w[i], values);
    }
    if (wanted.grads.replace) {
      if (tile.mask.data != nullptr) {
        scale(sum, sample.mask);
      }
      store_pack<N, true>(columns, narrow<T>(sum));
    }
  }
  if (wanted.grads.source == nullptr) {
    return;
  }
  GPU_UNROLL
  for (int i = 0; i < 4; ++i) {
    if (sample.corner[i] < 0) {
      continue;
    }
    const int64_t to = corner_index(split, sample, i, channel);
    const float weight = sample.weight.w[i] * sample.mask;
    if (wanted.grads.fixed != nullptr) {
      add_integers(static_cast<int64_t*>(wanted.grads.source) + to, weight, grad, wanted.grads.fixed);
    } else {
      add_floats(static_cast<float*>(wanted.grads.source) + to, weight, grad);
    }
  }
}

template <class T, int N>
__global__ void __launch_bounds__(kDeformThreads, kDeformBlocks)
    deform_grads_kernel(DeformTile tile, DeformSplit split, Wanted wanted) {
  GPU_SHARED(PlacedSample, samples, [kDeformThreads]);
  const uint32_t count = place_samples(tile, split, samples);
  const uint32_t lanes = 1u << split.lane_bits, lane = threadIdx.x & (lanes - 1);
  const uint32_t step = kDeformThreads >> split.lane_bits, first = threadIdx.x >> split.lane_bits;
  for (uint32_t begin = 0; begin < count; begin += step) {  // all threads: the sums below are a warp's
    const uint32_t s = begin + first;
    float dot[4] = {};
    if (s < count) {
      const PlacedSample& sample = samples[s];
      for (uint32_t c = lane * N; c < split.sample_channels; c += N << split.lane_bits) {
        process_channels<T, N>(tile, split, wanted, sample, c, dot);
      }
    }
    if (wanted.grads.samples == nullptr) {
      continue;
    }
    for (uint32_t by = lanes / 2; by > 0; by /= 2) {
      GPU_UNROLL
      for (int i = 0; i < 4; ++i) {
        dot[i] += __shfl_xor_sync(kAllLanes, dot[i], static_cast<int>(by));
      }
    }
    if (s < count && lane == 0) {
      const DeformSample<float> at = samples[s].at();
      const SampleGradient<float> grad = reads_nothing(at) ? SampleGradient<float>{} : gradient_of(at, dot);
      float* const to = wanted.grads.samples + 3 * (static_cast<int64_t>(blockIdx.x) * split.samples + s);
      to[0] = grad.y, to[1] = grad.x, to[2] = grad.mask;
    }
  }
}

// A thread per output pixel and offset group, neighbours in neighbouring pixels: the maps are written by planes.
__global__ void deform_map_grads_kernel(DeformMapGrads args) {
  const DeformGeometry& g = args.geometry;
  const int64_t groups = g.offset_groups, taps = g.taps(), pixels = g.out_pixels();
  for (int64_t i = grid_first(); i < args.range.count * groups; i += grid_step()) {
    const int64_t row = i % args.range.count, group = i / args.range.count;
    const int64_t image = (args.range.begin + row) / pixels, pixel = (args.range.begin + row) % pixels;
    const int64_t plane = image * groups + group;
    float center_y = 0, center_x = 0;
    for (int64_t k = 0; k < taps; ++k) {
      const float* const grad = args.samples + 3 * ((row * taps + k) * groups + group);
      const float y = grad[0], x = grad[1];
      const int64_t tap = plane * taps + k;
      if (args.offset.data != nullptr) {
        store_as(args.offset.dtype, args.offset.data, 2 * tap * pixels + pixel, y);
        store_as(args.offset.dtype, args.offset.data, (2 * tap + 1) * pixels + pixel, x);
      }
      if (args.mask.data != nullptr) {
        store_as(args.mask.dtype, args.mask.data, tap * pixels + pixel, grad[2]);
      }
      center_y += y, center_x += x;
    }
    if (args.center.data != nullptr) {
      store_as(args.center.dtype, args.center.data, 2 * plane * pixels + pixel, center_y);
      store_as(args.center.dtype, args.center.data, (2 * plane + 1) * pixels + pixel, center_x);
    }
  }
}

}  // namespace

void deform_grads(const DeformTile& tile, const DeformGrads& grads, Stream stream) {
  const DeformSplit split = split_tile(tile);
  if (split.total == 0) {
    return;
  }
  const dim3 blocks(static_cast<unsigned>(divide_up(split.total, split.samples)));
  const Wanted wanted{grads.replace || grads.samples != nullptr, grads};
  dispatch_single(tile.dtype, [&]<class T>(Tag<T>) {
    const auto kernel = split.pack > 1 ? deform_grads_kernel<T, kPack<T>> : deform_grads_kernel<T, 1>;
    launch("deform_grads", kernel, blocks, dim3(kDeformThreads), 0, stream, tile, split, wanted);
  });
}

void deform_map_grads(const DeformMapGrads& args, Stream stream) {
  constexpr int kThreads = 128;
  const int64_t threads = args.range.count * args.geometry.offset_groups;
  if (threads > 0) {
    launch("deform_map_grads", deform_map_grads_kernel, blocks_for(threads, kThreads), dim3(kThreads), 0, stream, args);
  }
}

}  // namespace refinedet::cuda
