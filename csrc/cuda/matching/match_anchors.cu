// Floor, at B=32 and A=16320 with 9 objects an image: 10.4 MB written (20 bytes an anchor and image) and 0.3 MB read
// with shared anchors, 8 MB more with refined ones: 2.5 to 5 us. An IoU takes some 40 operations, for all 4.7 M pairs
// about 7 us, more than the bytes. So a warp takes 32 neighboring anchors and the box around them, and only computes
// with the ground truths that reach it, about a third. No barriers and no shared memory: 16,320 warps that wait for
// nothing but their loads. What is left is the time of three launches: zeros for the keys, this kernel, forced matches.
//
// A million anchors with 2,000 objects: 2e9 tests of boxes against boxes would be 10 ms, tests of 32 anchors at a time
// are 0.1 ms.
//
// Expected on an H200, B=32: A=16320 with shared anchors 2 + 10 us, with forced matches 6 to 15 more; A=6375 2 + 5.
#include "core/matching.h"
#include "cuda/primitives/pack.h"
#include "force_match.h"
#include "ops/match_anchors.h"

namespace refinedet::cuda {
namespace {

constexpr int kThreads = 128;

// An integer that orders as the number does, which has no NaN; its own inverse.
__device__ __forceinline__ int32_t ordered(int32_t bits) { return bits ^ ((bits >> 31) & 0x7fffffff); }

__device__ __forceinline__ float warp_min(float x) {
  return bits_to_float(ordered(__reduce_min_sync(kAllLanes, ordered(float_to_bits(x)))));
}
__device__ __forceinline__ float warp_max(float x) {
  return bits_to_float(ordered(__reduce_max_sync(kAllLanes, ordered(float_to_bits(x)))));
}

__device__ __forceinline__ Box<float> from_lane(const Box<float>& b, int lane) {
  return {__shfl_sync(kAllLanes, b.x1, lane), __shfl_sync(kAllLanes, b.y1, lane), __shfl_sync(kAllLanes, b.x2, lane),
          __shfl_sync(kAllLanes, b.y2, lane)};
}

// Raises *key to the best of the warp's anchors, whose numbers are those of its lanes from `start` on: one integer
// atomic, so that the result does not depend on who comes first.
__device__ __forceinline__ void raise_key(uint64_t* key, float overlap, int64_t start) {
  const unsigned bits = static_cast<unsigned>(float_to_bits(overlap));  // in the numbers' order, none is negative
  const unsigned peak = __reduce_max_sync(kAllLanes, bits);
  const float best = bits_to_float(static_cast<int32_t>(peak));
  const unsigned equals = __ballot_sync(kAllLanes, bits == peak);
  if (best > kForceMinIou && threadIdx.x % kWarp == 0) {
    atomicMax(reinterpret_cast<unsigned long long*>(key), match_key(best, start + __ffs(equals) - 1));
  }
}

// What the thresholds say of each anchor; and in `keys`, zero before, the best anchor of every ground truth, unless it
// is null. A warp per 32 anchors of an image.
template <bool aligned, class T>
__global__ void __launch_bounds__(kThreads)
    match_kernel(MatchAnchorsArgs args, MatchLimits limits, unsigned blocks_per_image, uint64_t* keys) {
  const int lane = threadIdx.x % kWarp;
  const int64_t image = blockIdx.x / blocks_per_image;
  const int64_t start = int64_t{blockIdx.x % blocks_per_image} * kThreads + (threadIdx.x - lane), at = start + lane;
  const bool exists = at < args.anchor_count;
  const int64_t first = args.gt_offsets[image], last = args.gt_offsets[image + 1];
  GPU_CHECK(first >= 0 && first <= last && last <= args.gt_count,
            "gt_offsets: expected to run from 0 to the number of rows of gt_boxes and never to fall");
  Box<float> anchor = no_box();
  if (exists) {
    const T* anchors = static_cast<const T*>(args.anchors) + (args.shared ? 0 : 4 * image * args.anchor_count);
    anchor = to_float(load_box_row<aligned>(anchors + 4 * at));
  }
  float anchor_area = area(anchor);
  if (anchor_area != anchor_area) {  // overlaps nothing by definition
    anchor = no_box();
    anchor_area = 0.0f;
  }
  const Box<float> around = {warp_min(anchor.x1), warp_min(anchor.y1), warp_max(anchor.x2), warp_max(anchor.y2)};

  float best = 0.0f;
  int64_t best_row = -1;  // the lowest among equals, of the ground truths that are not ignored
  bool crowded = false;
  for (int64_t row = first; row < last; row += kWarp) {
    const int64_t own_row = row + lane;
    Box<float> own = no_box();
    bool ignored = true;
    if (own_row < last) {
      own = load_gt_box(args, own_row);
      ignored = args.gt_ignore != nullptr && args.gt_ignore[own_row];
    }
    const float own_area = area(own);
    const unsigned objects = __ballot_sync(kAllLanes, !ignored);
    if (best_row < 0 && objects != 0) {
      best_row = row + __ffs(objects) - 1;
    }
    for (unsigned near = __ballot_sync(kAllLanes, reaches(around, own)); near != 0; near &= near - 1) {
      const int from = __ffs(near) - 1;
      const Box<float> box = from_lane(own, from);
      const float box_area = __shfl_sync(kAllLanes, own_area, from);
      if ((objects >> from & 1) == 0) {
        crowded = crowded || limits.inside(anchor, anchor_area, box);
        continue;
      }
      const float overlap = iou(anchor, anchor_area, box, box_area);
      if (overlap > best) {
        best = overlap;
        best_row = row + from;
      }
      if (keys != nullptr) {
        raise_key(keys + row + from, overlap, start);
      }
    }
  }
  if (exists) {
    const bool matched = best_row >= 0 && limits.positive(best);
    const int64_t out = image * args.anchor_count + at;
    args.iou[out] = best;
    args.gt_index[out] = matched ? best_row : -1;
    args.labels[out] = matched ? args.gt_labels[best_row] : crowded ? -1 : limits.unmatched(best);
  }
}

}  // namespace

int64_t match_anchors_workspace(const MatchAnchorsArgs& args) {
  Workspace workspace;
  const ForceMemory memory(args, workspace);
  return workspace.bytes();
}

void match_anchors(const MatchAnchorsArgs& args, void* workspace, Stream stream) {
  if (args.batch == 0 || args.anchor_count == 0) {
    return;
  }
  Workspace pieces(workspace);
  const ForceMemory memory(args, pieces);
  const bool forces = args.force != ForceMatch::none && args.gt_count > 0;
  if (forces) {
    fill_zero(memory.keys, static_cast<size_t>(args.gt_count) * sizeof(uint64_t), stream);
  }
  const MatchLimits limits(args.positive_iou, args.negative_iou, args.ignore_iof);
  const int64_t blocks_per_image = divide_up(args.anchor_count, kThreads);
  dispatch_floating(args.anchor_dtype, [&]<class T>(Tag<T>) {
    const auto kernel =
        rows_aligned(static_cast<const T*>(args.anchors)) ? match_kernel<true, T> : match_kernel<false, T>;
    launch("match_anchors", kernel, dim3(static_cast<unsigned>(blocks_per_image * args.batch)), dim3(kThreads), 0,
           stream, args, limits, static_cast<unsigned>(blocks_per_image), forces ? memory.keys : nullptr);
  });
  if (forces) {
    force_match(args, memory, stream);
  }
}

}  // namespace refinedet::cuda
