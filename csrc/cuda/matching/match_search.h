// The next best anchors of objects whose best ones were taken, found by a whole block of kSearchThreads threads: a pass
// over the image's anchors for up to four objects, 16 bytes each from the L2 and some 40 operations for each object
// that an anchor reaches; 5 us for 16,320 anchors.
#pragma once

#include "cuda/primitives/block.h"
#include "cuda/primitives/pack.h"
#include "force_match.h"

namespace refinedet::cuda {

inline constexpr int kSearchThreads = 512;
inline constexpr int kSearchWarps = kSearchThreads / kWarp;
inline constexpr int kSearchTogether = 4;  // objects that look for anchors in one pass

// A pair that was offered to an anchor stands in gt_index as a number below -1, the lower, the better: the lower object
// among equals.
__device__ __forceinline__ int64_t claim_of(float iou, int64_t object) {
  return -static_cast<int64_t>(match_key(iou, object));
}

// The objects and results of the block's image.
struct Image {
  int64_t first, count;  // rows of its ground truths
  int64_t first_anchor;  // in the outputs
  int64_t* gt_index;
  uint64_t* keys;

  __device__ Image(const MatchAnchorsArgs& args, const ForceMemory& memory)
      : first(args.gt_offsets[blockIdx.x]),
        count(args.gt_offsets[blockIdx.x + 1] - first),
        first_anchor(blockIdx.x * args.anchor_count),
        gt_index(args.gt_index + first_anchor),
        keys(memory.keys + first) {}
};

// Its anchors.
template <bool aligned, class T>
struct Anchors {
  const T* rows;
  int64_t count;

  __device__ explicit Anchors(const MatchAnchorsArgs& args)
      : rows(static_cast<const T*>(args.anchors) + (args.shared ? 0 : 4 * blockIdx.x * args.anchor_count)),
        count(args.anchor_count) {}
  __device__ Box<float> operator[](int64_t i) const { return to_float(load_box_row<aligned>(rows + 4 * i)); }
};

// The best keys that a thread has seen. The third only says what the list of the first two leaves out.
struct BestThree {
  uint64_t first = 0, second = 0, third = 0;

  // A key above the third.
  __device__ __forceinline__ void add(uint64_t key) {
    third = min2(second, key);
    second = max2(min2(first, key), second);
    first = max2(first, key);
  }
};

struct SearchMemory {
  uint64_t left_out[kSearchTogether][kSearchWarps];     // the best third key of each warp
  uint64_t found[kSearchTogether][2 * kSearchThreads];  // the keys above all third ones
  unsigned found_count[kSearchTogether];
};

// What this thread's share of the anchors has for the objects, without anchors that hold a better pair.
template <bool aligned, class T>
__device__ __forceinline__ void look_at_anchors(const MatchAnchorsArgs& args, const Image& image,
                                                const Anchors<aligned, T>& anchors, const uint32_t* objects, int count,
                                                BestThree* best) {
  constexpr int kAhead = 2;  // anchors that are loaded at once; the kernel has no registers for more
  uint32_t object[kSearchTogether];
  Box<float> box[kSearchTogether];
  float box_area[kSearchTogether];
  GPU_UNROLL
  for (int j = 0; j < kSearchTogether; ++j) {
    object[j] = objects[min2(j, count - 1)];
    box[j] = j < count ? load_gt_box(args, image.first + object[j]) : no_box();
    box_area[j] = area(box[j]);
  }
  for (int64_t start = threadIdx.x; start < anchors.count; start += kAhead * kSearchThreads) {
    Box<float> anchor[kAhead];
    GPU_UNROLL
    for (int i = 0; i < kAhead; ++i) {
      const int64_t at = start + i * kSearchThreads;
      anchor[i] = at < anchors.count ? anchors[at] : no_box();
    }
    GPU_UNROLL
    for (int i = 0; i < kAhead; ++i) {
      const int64_t at = start + i * kSearchThreads;
      const float anchor_area = area(anchor[i]);
      GPU_UNROLL
      for (int j = 0; j < kSearchTogether; ++j) {
        if (reaches(anchor[i], box[j])) {
          const float overlap = iou(anchor[i], anchor_area, box[j], box_area[j]);
          const uint64_t key = match_key(overlap, at);
          if (overlap > kForceMinIou && key > best[j].third && image.gt_index[at] > claim_of(overlap, object[j])) {
            best[j].add(key);
          }
        }
      }
    }
  }
}

// Fills the reserves of `count` objects, at most kSearchTogether. The first two keys of every thread that are above
// every thread's third are the object's best anchors without a gap: some 100 of them unless the best anchors happen to
// meet in few threads, and always the very best. Ends with a barrier.
template <bool aligned, class T>
__device__ void search_anchors(const MatchAnchorsArgs& args, const ForceMemory& memory, const Image& image,
                               const Anchors<aligned, T>& anchors, const uint32_t* objects, int count,
                               SearchMemory& shared) {
  const int thread = threadIdx.x;
  BestThree best[kSearchTogether];
  look_at_anchors(args, image, anchors, objects, count, best);
  GPU_UNROLL
  for (int j = 0; j < kSearchTogether; ++j) {
    uint64_t most = best[j].third;
    for (int step = kWarp / 2; step > 0; step /= 2) {
      most = max2(most, __shfl_xor_sync(kAllLanes, most, step));
    }
    if (thread % kWarp == 0) {
      shared.left_out[j][thread / kWarp] = most;
    }
  }
  if (thread < kSearchTogether) {
    shared.found_count[thread] = 0;
  }
  __syncthreads();
  GPU_UNROLL
  for (int j = 0; j < kSearchTogether; ++j) {
    uint64_t left_out = 0;
    for (int warp = 0; warp < kSearchWarps; ++warp) {
      left_out = max2(left_out, shared.left_out[j][warp]);
    }
    for (const uint64_t key : {best[j].first, best[j].second}) {
      if (key > left_out) {
        shared.found[j][atomicAdd(&shared.found_count[j], 1u)] = key;
      }
    }
    if (thread == 0 && j < count) {
      memory.reserves[image.first + objects[j]].more = left_out != 0;
    }
  }
  __syncthreads();
  for (int j = 0; j < count; ++j) {
    const int found = static_cast<int>(shared.found_count[j]);
    const int64_t row = image.first + objects[j];
    for (int i = thread; i < found; i += kSearchThreads) {
      const uint64_t key = shared.found[j][i];
      int rank = 0;
      for (int k = 0; k < found && rank < Reserve::kSize; ++k) {
        rank += shared.found[j][k] > key;
      }
      if (rank < Reserve::kSize) {
        memory.anchors[row * Reserve::kSize + rank] = static_cast<uint32_t>(anchor_of(key));
      }
    }
    if (thread == 0) {
      Reserve& reserve = memory.reserves[row];
      reserve = {min2(found, Reserve::kSize), 0, reserve.more || found > Reserve::kSize};
    }
  }
  __syncthreads();
}

// The key of the next anchor in the object's reserve that does not hold a better pair (with `any`, of the next one
// whatever it holds), 0 if there is none.
template <bool aligned, class T>
__device__ uint64_t take_next(const MatchAnchorsArgs& args, const ForceMemory& memory, const Image& image,
                              const Anchors<aligned, T>& anchors, int64_t object, bool any) {
  const int64_t row = image.first + object;
  Reserve& reserve = memory.reserves[row];
  const uint32_t* const list = memory.anchors + row * Reserve::kSize;
  const Box<float> box = load_gt_box(args, row);
  while (reserve.next < reserve.size) {
    const int64_t at = list[reserve.next++];
    const Box<float> anchor = anchors[at];
    const float overlap = iou(anchor, area(anchor), box, area(box));
    if (any || image.gt_index[at] > claim_of(overlap, object)) {
      return match_key(overlap, at);
    }
  }
  return 0;
}

__device__ __forceinline__ void offer(int64_t* gt_index, int64_t anchor, int64_t claim) {
  atomicMin(reinterpret_cast<long long*>(gt_index + anchor), claim);
}

__device__ __forceinline__ void propose(const Image& image, int64_t object) {
  const uint64_t key = image.keys[object];
  if (key != 0) {
    offer(image.gt_index, anchor_of(key), claim_of(iou_of(key), object));
  }
}

// Whether the anchor that the object proposed to holds a better pair.
__device__ __forceinline__ bool has_lost(const Image& image, int64_t object) {
  const uint64_t key = image.keys[object];
  return key != 0 && image.gt_index[anchor_of(key)] != claim_of(iou_of(key), object);
}

}  // namespace refinedet::cuda
