// Floor, float32: 8 bytes read and 8 written per anchor (mask: 8 and 1). For a detector's 6,375 or 16,320 anchors that
// is 0.05 us an image: the launch and two trips to the memory are the time. So a block does a whole image of up to
// 16,384 anchors by itself, all its loads in flight at once. Larger images are cut into chunks, with a launch before
// that counts what each keeps; the second adds up the counts before its chunk by itself and finds the logits in the L2.
// Expected on an H200, B=32: 4 us for 6,375 anchors, 6 for 16,320 (260 KB through a processor); the mask 4 and 5.
#include "core/softmax.h"
#include "core/threshold.h"
#include "cuda/primitives/block.h"
#include "cuda/primitives/pack.h"
#include "ops/filter_anchors.h"

namespace refinedet::cuda {
namespace {

constexpr int kMaxThreads = 1024, kMaxPerThread = 16;
constexpr int64_t kWhole = kMaxThreads * kMaxPerThread;  // anchors of an image that is one chunk
constexpr int64_t kChunk = 4096;                         // of the others

template <class T>
struct Filter {
  const T* logits;
  int64_t count, chunk, chunks;  // anchors of an image and of a chunk, chunks of an image
  Accumulate<T> threshold;
  int64_t *index, *index_count;
  uint32_t* kept_in;  // (images, chunks), null with one chunk
};

template <bool aligned, class T>
__device__ __forceinline__ bool keeps(const T* logits, Accumulate<T> threshold) {
  Pack<T, 2> pair{logits[0], logits[aligned ? 0 : 1]};
  if constexpr (aligned) {
    pair = *reinterpret_cast<const Pack<T, 2>*>(logits);
  }
  return keeps_anchor(load(pair.at[0]), load(pair.at[1]), threshold);
}

// A block's chunk, of which each warp has so many times 32 anchors side by side.
struct Share {
  int64_t image, chunk, first;  // first: of the chunk's anchors
  int size, per_lane;
  int begin;  // of the warp's anchors in the chunk

  template <class T>
  __device__ explicit Share(const Filter<T>& f) {
    image = blockIdx.x / f.chunks;
    chunk = blockIdx.x % f.chunks;
    first = chunk * f.chunk;
    size = static_cast<int>(min2(f.chunk, f.count - first));
    per_lane = static_cast<int>(divide_up(size, blockDim.x));
    begin = warp_id() * per_lane * kWarp;
  }
};

// Bit l of kept[j]: the warp's anchor 32 j + l is kept. Returns their number.
template <bool aligned, class T>
__device__ __forceinline__ uint32_t test(const Filter<T>& f, const Share& share, unsigned (&kept)[kMaxPerThread]) {
  const T* logits = f.logits + 2 * (share.image * f.count + share.first);
  uint32_t number = 0;
  GPU_UNROLL
  for (int j = 0; j < kMaxPerThread; ++j) {
    kept[j] = 0;
    if (j < share.per_lane) {
      const int i = share.begin + j * kWarp + lane_id();
      kept[j] = __ballot_sync(kAllLanes, i < share.size && keeps<aligned>(logits + 2 * int64_t{i}, f.threshold));
      number += __popc(kept[j]);
    }
  }
  return number;
}

template <bool aligned, class T>
__global__ void __launch_bounds__(kMaxThreads) count_kernel(Filter<T> f) {
  const Share share(f);
  unsigned kept[kMaxPerThread];
  const uint32_t number = test<aligned>(f, share, kept);
  uint32_t total = 0;
  block_exclusive_scan(lane_id() == 0 ? number : 0, &total);
  if (threadIdx.x == 0) {
    f.kept_in[blockIdx.x] = total;
  }
}

template <bool aligned, class T>
__global__ void __launch_bounds__(kMaxThreads) filter_kernel(Filter<T> f) {
  const Share share(f);
  unsigned kept[kMaxPerThread];
  const uint32_t number = test<aligned>(f, share, kept);
  uint32_t total = 0, before = 0;
  const uint32_t before_warp = block_exclusive_scan(lane_id() == 0 ? number : 0, &total);
  if (f.kept_in != nullptr) {
    uint32_t mine_before = 0, mine = 0;
    for (int64_t c = threadIdx.x; c < f.chunks; c += blockDim.x) {
      const uint32_t n = f.kept_in[share.image * f.chunks + c];
      mine_before += c < share.chunk ? n : 0;
      mine += n;
    }
    block_exclusive_scan(mine_before, &before);
    block_exclusive_scan(mine, &total);
  }
  int64_t* const row = f.index + share.image * f.count;
  int64_t at = before + __shfl_sync(kAllLanes, before_warp, 0);
  GPU_UNROLL
  for (int j = 0; j < kMaxPerThread; ++j) {
    if ((kept[j] >> lane_id() & 1u) != 0) {
      row[at + __popc(kept[j] & (lanes_below()))] = share.first + share.begin + j * kWarp + lane_id();
    }
    at += __popc(kept[j]);
  }
  for (int64_t i = share.first + threadIdx.x; i < share.first + share.size; i += blockDim.x) {
    if (i >= total) {
      row[i] = -1;
    }
  }
  if (share.chunk == 0 && threadIdx.x == 0) {
    f.index_count[share.image] = total;
  }
}

template <bool aligned, class T>
__global__ void mask_kernel(const T* logits, int64_t count, Accumulate<T> threshold, uint8_t* mask) {
  constexpr int kAnchors = kPack<T> / 2;
  for (int64_t i = grid_first(); i < divide_up(count, kAnchors); i += grid_step()) {
    const int64_t first = i * kAnchors;
    if (aligned && first + kAnchors <= count) {
      const auto in = *reinterpret_cast<const Pack<T, kPack<T>>*>(logits + 2 * first);
      Pack<uint8_t, kAnchors> out;
      GPU_UNROLL
      for (int k = 0; k < kAnchors; ++k) {
        out.at[k] = keeps_anchor(load(in.at[2 * k]), load(in.at[2 * k + 1]), threshold) ? 1 : 0;
      }
      *reinterpret_cast<Pack<uint8_t, kAnchors>*>(mask + first) = out;
    } else {
      for (int64_t k = first; k < min2(count, first + kAnchors); ++k) {
        mask[k] = keeps<false>(logits + 2 * k, threshold) ? 1 : 0;
      }
    }
  }
}

int64_t chunk_of(int64_t count) { return count <= kWhole ? count : kChunk; }

}  // namespace

int64_t filter_anchors_workspace(const FilterAnchorsArgs& args) {
  return args.count <= kWhole ? 0 : args.batch * divide_up(args.count, kChunk) * int64_t{sizeof(uint32_t)};
}

void filter_anchors(const FilterAnchorsArgs& args, void* workspace, Stream stream) {
  if (args.batch * args.count == 0) {
    fill_zero(args.index_count, static_cast<size_t>(args.batch) * sizeof(int64_t), stream);
    return;
  }
  dispatch_floating(args.dtype, [&]<class T>(Tag<T>) {
    Filter<T> f{static_cast<const T*>(args.logits),
                args.count,
                chunk_of(args.count),
                divide_up(args.count, chunk_of(args.count)),
                ceil_to<Accumulate<T>>(filter_threshold(args.theta)),
                args.index,
                args.index_count,
                nullptr};
    const dim3 grid(static_cast<unsigned>(args.batch * f.chunks));
    const dim3 block(static_cast<unsigned>(min2<int64_t>(kMaxThreads, divide_up(f.chunk, kWarp) * kWarp)));
    const bool aligned = is_aligned(f.logits, 2 * sizeof(T));
    if (f.chunks > 1) {
      f.kept_in = static_cast<uint32_t*>(workspace);
      launch("filter_anchors", aligned ? count_kernel<true, T> : count_kernel<false, T>, grid, block, 0, stream, f);
    }
    launch("filter_anchors", aligned ? filter_kernel<true, T> : filter_kernel<false, T>, grid, block, 0, stream, f);
  });
}

void filter_anchors_mask(const FilterAnchorsMaskArgs& args, Stream stream) {
  constexpr int kThreads = 256;
  const int64_t count = args.batch * args.count;
  if (count == 0) {
    return;
  }
  dispatch_floating(args.dtype, [&]<class T>(Tag<T>) {
    const T* logits = static_cast<const T*>(args.logits);
    const auto kernel = is_aligned(logits, 16) ? mask_kernel<true, T> : mask_kernel<false, T>;
    launch("filter_anchors_mask", kernel, blocks_for(divide_up(count, kPack<T> / 2), kThreads), dim3(kThreads), 0,
           stream, logits, count, ceil_to<Accumulate<T>>(filter_threshold(args.theta)),
           reinterpret_cast<uint8_t*>(args.mask));
  });
}

}  // namespace refinedet::cuda
