// The forced matches of `match_anchors`: an anchor for every ground truth, whatever the thresholds say. For kernel
// files.
#pragma once

#include "core/matching.h"
#include "cuda/primitives/device.h"
#include "cuda/primitives/workspace.h"
#include "ops/match_anchors.h"

namespace refinedet::cuda {

// A ground truth's next best anchors, in order, and where it stands in them.
struct Reserve {
  static constexpr int kSize = 128;
  int32_t size, next;
  bool more;  // there may be further anchors after these
};

// Objects with the same box, `size` of the list of members from `first` on.
struct AlikeGroup {
  uint32_t first, size;
  uint32_t lost;  // 1 once one of them has lost its anchor
};

// For the ground truths that are alike (match_alike.h): (gt_count,) each.
struct AlikeArrays {
  static constexpr uint32_t kAlone = 0xffffffffu;  // in group_of

  uint32_t *group_of, *members, *sizes;
  AlikeGroup* groups;
  uint64_t *chosen, *sorted;

  // Whether the object, of an image's that start at row `first`, is in a group, which then has lost.
  __device__ __forceinline__ bool note_loss(int64_t first, int64_t object) const {
    const uint32_t group = group_of[first + object];
    if (group == kAlone) {
      return false;
    }
    atomicExch(&groups[first + group].lost, 1u);
    return true;
  }
};

struct ForceMemory {
  uint64_t* keys;  // (gt_count,) match_key of each ground truth's best anchor, 0 where it has none

  // bipartite only
  Reserve* reserves;                // (gt_count,)
  uint32_t* anchors;                // (gt_count, Reserve::kSize)
  uint32_t *proposing, *searching;  // (gt_count,) each image's lists, of objects counted from its first
  AlikeArrays alike;

  ForceMemory(const MatchAnchorsArgs& args, Workspace& workspace) {
    const int64_t some = args.force != ForceMatch::none ? args.gt_count : 0;
    const int64_t many = args.force == ForceMatch::bipartite ? args.gt_count : 0;
    keys = workspace.take<uint64_t>(some);
    reserves = workspace.take<Reserve>(many);
    anchors = workspace.take<uint32_t>(many * Reserve::kSize);
    proposing = workspace.take<uint32_t>(many);
    searching = workspace.take<uint32_t>(many);
    alike.group_of = workspace.take<uint32_t>(many);
    alike.members = workspace.take<uint32_t>(many);
    alike.sizes = workspace.take<uint32_t>(many);
    alike.groups = workspace.take<AlikeGroup>(many);
    alike.chosen = workspace.take<uint64_t>(many);
    alike.sorted = workspace.take<uint64_t>(many);
  }
};

// A row of gt_boxes, whatever its type: too few are read for a kernel per type.
__device__ __forceinline__ Box<float> load_gt_box(const MatchAnchorsArgs& args, int64_t row) {
  switch (args.gt_dtype) {
    case DType::f64:
      return load_float_box(static_cast<const double*>(args.gt_boxes) + 4 * row);
    case DType::f16:
      return load_float_box(static_cast<const Half*>(args.gt_boxes) + 4 * row);
    case DType::bf16:
      return load_float_box(static_cast<const BFloat16*>(args.gt_boxes) + 4 * row);
    default:
      return load_float_box(static_cast<const float*>(args.gt_boxes) + 4 * row);
  }
}

// Writes the forced matches over those by the thresholds. args.force is not none, and memory.keys is filled.
void force_match(const MatchAnchorsArgs& args, const ForceMemory& memory, Stream stream);

}  // namespace refinedet::cuda
