// Bipartite matches of many objects with the very same box, which all want the same anchors.
//
// The greedy matching gives the best of the anchors that they get to the first of them, the next best to the second and
// so on. So they propose as one: of the anchors, best first, each that does not hold a better pair with another object
// goes to the next of them, until all have one. That is what they would come to by themselves, one proposal after the
// other, if nobody else moved meanwhile; and an anchor that one of them holds is again given to it or to one before it,
// so that anchors still only ever change to better pairs, and the rounds end with the greedy matching as before.
//
// By a whole block: the anchors are looked at in 5 to 9 passes of 2 us (16,320 of them), for the selection of as many
// as there are objects, and sorted by tiles, 2,000 objects in 10 us. Finding who is alike takes a look at all objects
// before each one that has no like before it, 20 us for 2,000 that all differ; it is only done once many objects have
// lost.
#pragma once

#include "cuda/primitives/block_select.h"
#include "cuda/primitives/sorted_tiles.h"
#include "match_search.h"

namespace refinedet::cuda {

inline constexpr int kLeastAlike = 32;  // objects with the same box from which on they propose together

struct AlikeMemory {
  uint32_t bins[kSelectBins];
  uint64_t tile[2 * kSearchThreads];
  unsigned number;
};

// The block's image's share of the arrays.
struct Alike : AlikeArrays {
  __device__ Alike(const AlikeArrays& all, const Image& image)
      : AlikeArrays{all.group_of + image.first, all.members + image.first, all.sizes + image.first,
                    all.groups + image.first,   all.chosen + image.first,  all.sorted + image.first} {}
};

// How many objects have lost the anchor that they proposed to.
__device__ __forceinline__ int count_lost(const Image& image) {
  int lost = 0;
  for (int64_t g = threadIdx.x; g < image.count; g += kSearchThreads) {
    lost += has_lost(image, g) ? 1 : 0;
  }
  return block_sum(lost);
}

__device__ __forceinline__ bool same_box(const Box<float>& a, const Box<float>& b) {
  return a.x1 == b.x1 && a.y1 == b.y1 && a.x2 == b.x2 && a.y2 == b.y2;
}

// Finds the groups of at least kLeastAlike objects that are alike and have a key, their members in order; returns the
// number of groups. Ends with a barrier.
__device__ inline int find_alike(const MatchAnchorsArgs& args, const Image& image, const Alike& alike) {
  GPU_SHARED(uint32_t, groups, [1]);
  const int64_t thread = threadIdx.x, count = image.count;
  const auto box_of = [&](int64_t g) { return load_gt_box(args, image.first + g); };
  for (int64_t g = thread; g < count; g += kSearchThreads) {
    int64_t first = g;  // the first one like g
    if (image.keys[g] != 0) {
      const Box<float> own = box_of(g);
      for (first = 0; first < g && (image.keys[first] == 0 || !same_box(box_of(first), own));) {
        ++first;
      }
    }
    alike.group_of[g] = static_cast<uint32_t>(first);
    alike.sizes[g] = 0;
  }
  if (thread == 0) {
    groups[0] = 0;
  }
  __syncthreads();
  for (int64_t g = thread; g < count; g += kSearchThreads) {
    atomicAdd(&alike.sizes[alike.group_of[g]], 1u);
  }
  __syncthreads();
  for (int64_t g = thread; g < count; g += kSearchThreads) {
    if (alike.sizes[g] >= kLeastAlike) {  // g is the first of its group
      alike.groups[atomicAdd(&groups[0], 1u)] = {static_cast<uint32_t>(g), alike.sizes[g], 0};
    }
  }
  __syncthreads();
  uint32_t placed = 0;
  for (uint32_t group = 0; group < groups[0]; ++group) {
    const uint32_t first_object = alike.groups[group].first, first = placed;
    for (int64_t start = first_object / kSearchThreads * kSearchThreads; start < count; start += kSearchThreads) {
      const int64_t g = start + thread;
      const bool member = g < count && alike.group_of[g] == first_object;
      uint32_t here = 0;
      const uint32_t before = block_exclusive_scan(member ? uint32_t{1} : uint32_t{0}, &here);
      if (member) {
        alike.members[placed + before] = static_cast<uint32_t>(g);
      }
      placed += here;
    }
    if (thread == 0) {
      alike.groups[group].first = first;
    }
  }
  // from the first one like an object to its group
  for (int64_t g = thread; g < count; g += kSearchThreads) {
    alike.group_of[g] = Alike::kAlone;
  }
  __syncthreads();
  for (uint32_t group = 0; group < groups[0]; ++group) {
    const AlikeGroup of_group = alike.groups[group];
    for (uint32_t i = static_cast<uint32_t>(thread); i < of_group.size; i += kSearchThreads) {
      alike.group_of[alike.members[of_group.first + i]] = group;
    }
  }
  __syncthreads();
  return static_cast<int>(groups[0]);
}

// Sorts the `count` words of alike.chosen, rising. Barriers at both ends.
__device__ inline void sort_chosen(const Alike& alike, int count, uint64_t* tile) {
  constexpr int kSize = 2 * kSearchThreads;
  const int thread = static_cast<int>(threadIdx.x);
  for (int first = 0; first < count; first += kSize) {
    for (int i = thread; i < kSize; i += kSearchThreads) {
      tile[i] = first + i < count ? alike.chosen[first + i] : ~uint64_t{0};
    }
    __syncthreads();
    sort_tile(tile);
    for (int i = thread; i < kSize && first + i < count; i += kSearchThreads) {
      alike.sorted[first + i] = tile[i];
    }
    __syncthreads();
  }
  for (int start = 0; start < count; start += kSearchThreads / kRankLanes) {
    const int i = start + thread / kRankLanes;
    const uint64_t word = i < count ? alike.sorted[i] : 0;
    const int before = rank_in_other_tiles<kSize>(alike.sorted, count, i, [&](bool) { return word; });
    if (thread % kRankLanes == 0 && i < count) {
      alike.chosen[i % kSize + before] = word;
    }
  }
  __syncthreads();
}

// The objects of a group propose. Ends with a barrier.
template <bool aligned, class T>
__device__ __forceinline__ void propose_alike(const MatchAnchorsArgs& args, const Image& image,
                                              const Anchors<aligned, T>& anchors, const Alike& alike, int group,
                                              AlikeMemory& shared) {
  const int thread = static_cast<int>(threadIdx.x);
  const AlikeGroup of_group = alike.groups[group];
  const uint32_t* const members = alike.members + of_group.first;
  const int size = static_cast<int>(of_group.size);
  const Box<float> box = load_gt_box(args, image.first + members[0]);
  const float box_area = area(box);

  // What an anchor holds: the pair's key of an object outside the group, 0 if there is none.
  const auto other_pair = [&](int64_t anchor) {
    const int64_t claim = image.gt_index[anchor];
    const uint64_t pair = claim < -1 ? static_cast<uint64_t>(-claim) : 0;
    return pair != 0 && alike.group_of[anchor_of(pair)] == static_cast<uint32_t>(group) ? 0 : pair;
  };
  // An anchor that is not held by a better pair with another object, as a number: the lower, the better. A pair with an
  // equal overlap may be better or not, as the members come before its object or after it.
  const auto key_at = [&](int64_t i) {
    const Box<float> anchor = anchors[i];
    const float overlap = reaches(anchor, box) ? iou(anchor, area(anchor), box, box_area) : 0.0f;
    return overlap > kForceMinIou && !(iou_of(other_pair(i)) > overlap) ? ~match_key(overlap, i) : ~uint64_t{0};
  };
  // The object of a pair with an equal overlap; the highest number without one.
  const auto equal_at = [&](uint64_t key) {
    const uint64_t pair = other_pair(anchor_of(~key));
    return pair != 0 && iou_of(pair) == iou_of(~key) ? static_cast<uint32_t>(anchor_of(pair)) : 0xffffffffu;
  };

  unsigned mine = 0;
  for_keys(key_at, anchors.count,
           [&](uint64_t key) { mine += key != ~uint64_t{0} && equal_at(key) != 0xffffffffu ? 1 : 0; });
  const unsigned equals = block_sum(mine);
  const KeyRange range =
      block_select(key_at, anchors.count, of_group.size + equals, ~match_key(2.0f, 0), ~uint64_t{0} - 1, shared.bins);
  if (thread == 0) {
    shared.number = 0;
    alike.groups[group].lost = 0;
  }
  __syncthreads();
  for_keys(key_at, anchors.count, [&](uint64_t key) {
    if (key >= range.first && key <= range.last) {
      alike.chosen[atomicAdd(&shared.number, 1u)] = key;
    }
  });
  __syncthreads();
  const int chosen = static_cast<int>(shared.number);
  sort_chosen(alike, chosen, shared.tile);

  if (equals == 0) {
    for (int i = thread; i < size; i += kSearchThreads) {
      image.keys[members[i]] = i < chosen ? ~alike.chosen[i] : 0;
    }
  } else {
    for (int i = thread; i < chosen; i += kSearchThreads) {
      alike.sorted[i] = equal_at(alike.chosen[i]);
    }
    __syncthreads();
    if (thread == 0) {
      int given = 0;
      for (int i = 0; i < chosen && given < size; ++i) {
        if (alike.sorted[i] > members[given]) {  // none, or one after it
          image.keys[members[given++]] = ~alike.chosen[i];
        }
      }
      for (; given < size; ++given) {
        image.keys[members[given]] = 0;
      }
    }
  }
  __syncthreads();
  for (int i = thread; i < size; i += kSearchThreads) {
    propose(image, members[i]);
  }
  __syncthreads();
}

}  // namespace refinedet::cuda
