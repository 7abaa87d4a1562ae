// A block per image: with some 9 objects it reads as many keys and writes as many anchors, which is nothing beside the
// launch (2 to 3 us). Only a bipartite match whose objects want the same anchor looks at anchors again: 16 bytes each
// from the L2 cache and some 40 operations per anchor and rival, for 16,320 anchors and up to four rivals about 5 us.
// Expected: argmax 4 us, bipartite 6 to 15.
//
// Bipartite is defined as greedy: the best pair of all pairs (by IoU, then lower anchor, then lower object) is matched
// and both are out, then the best of those left. One after the other that would be slow here, so the objects propose
// instead (Gale and Shapley 1962): each proposes to its best anchor, an anchor keeps the best pair it was ever offered,
// and whoever was not kept, or no longer is, proposes to the best anchor that does not hold a better pair than theirs.
// Nobody is left to propose after finitely many rounds, since anchors only ever change to better pairs. Then no free or
// worse matched object and anchor would both gain by each other: the object has proposed to every anchor that it would
// prefer or passed it by, and each of those held a better pair then and still does. The greedy matching is the only one
// of which this holds: the best pair of all must be in it, since both would gain by it in any other, and so on with
// what is left. So the rounds, in whatever order their proposals arrive, end with the greedy result.
//
// In the worst case (n objects that are nearly alike) n rounds each settle one object. Looking at all anchors yields up
// to Reserve::kSize next best ones, so that it is done for a rival only once in that many rounds: 2,000 such objects
// among 16,320 anchors are 3,900 passes over the anchors, 20 ms. Objects with the very same box propose together
// (match_alike.h): 2,000 of those are 0.1 ms.
#include "match_alike.h"

namespace refinedet::cuda {
namespace {

__device__ __forceinline__ void assign(const MatchAnchorsArgs& args, const Image& image, int64_t object) {
  const int64_t row = image.first + object, anchor = anchor_of(image.keys[object]);
  image.gt_index[anchor] = row;
  args.labels[image.first_anchor + anchor] = args.gt_labels[row];
}

// ---------------------------------------------------------------- argmax
constexpr int kArgmaxThreads = 128;

// Of the objects with the same best anchor the last one keeps it: -2 - object is the lowest there.
__global__ void __launch_bounds__(kArgmaxThreads) match_argmax_kernel(MatchAnchorsArgs args, ForceMemory memory) {
  const Image image(args, memory);
  for (int64_t g = threadIdx.x; g < image.count; g += kArgmaxThreads) {
    if (image.keys[g] != 0) {
      offer(image.gt_index, anchor_of(image.keys[g]), -2 - g);
    }
  }
  __syncthreads();
  for (int64_t g = threadIdx.x; g < image.count; g += kArgmaxThreads) {
    if (image.keys[g] != 0 && image.gt_index[anchor_of(image.keys[g])] != -2 - g) {
      image.keys[g] = 0;
    }
  }
  __syncthreads();
  for (int64_t g = threadIdx.x; g < image.count; g += kArgmaxThreads) {
    if (image.keys[g] != 0) {
      assign(args, image, g);
    }
  }
}

// ---------------------------------------------------------------- bipartite
union BipartiteMemory {
  SearchMemory search;
  AlikeMemory alike;
};

template <bool aligned, class T>
__global__ void __launch_bounds__(kSearchThreads) match_bipartite_kernel(MatchAnchorsArgs args, ForceMemory memory) {
  GPU_SHARED(BipartiteMemory, shared, );
  GPU_SHARED(unsigned, counts, [2]);
  const Image image(args, memory);
  const Anchors<aligned, T> anchors(args);
  uint32_t *const proposing = memory.proposing + image.first, *const searching = memory.searching + image.first;
  int groups = -1;  // of objects that are alike; not looked for yet
  for (int64_t g = threadIdx.x; g < image.count; g += kSearchThreads) {
    memory.reserves[image.first + g] = {0, 0, true};
    propose(image, g);
  }
  for (;;) {
    if (threadIdx.x < 2) {
      counts[threadIdx.x] = 0;
    }
    __syncthreads();  // all offers are made
    if (groups < 0 && image.count >= kLeastAlike && count_lost(image) >= kLeastAlike) {
      groups = find_alike(args, image, Alike(memory.alike, image));
    }
    unsigned lost_alike = 0;
    for (int64_t g = threadIdx.x; g < image.count; g += kSearchThreads) {
      if (has_lost(image, g)) {
        if (groups > 0 && memory.alike.note_loss(image.first, g)) {
          lost_alike = 1;
          continue;
        }
        const uint64_t next = take_next(args, memory, image, anchors, g, false);
        image.keys[g] = next;
        if (next != 0) {
          proposing[atomicAdd(&counts[0], 1u)] = static_cast<uint32_t>(g);
        } else if (memory.reserves[image.first + g].more) {
          searching[atomicAdd(&counts[1], 1u)] = static_cast<uint32_t>(g);
        }
      }
    }
    const bool any_alike = __syncthreads_or(static_cast<int>(lost_alike)) != 0;
    const int64_t proposals = counts[0], searches = counts[1];
    if (proposals + searches == 0 && !any_alike) {
      break;
    }
    for (int64_t i = 0; i < searches; i += kSearchTogether) {
      search_anchors(args, memory, image, anchors, searching + i,
                     static_cast<int>(min2<int64_t>(kSearchTogether, searches - i)), shared.search);
    }
    for (int64_t i = threadIdx.x; i < proposals; i += kSearchThreads) {
      propose(image, proposing[i]);
    }
    for (int64_t i = threadIdx.x; i < searches; i += kSearchThreads) {
      // the first one found needs no look at the pair that holds it: when the search began that was no better one
      image.keys[searching[i]] = take_next(args, memory, image, anchors, searching[i], true);
      propose(image, searching[i]);
    }
    __syncthreads();
    for (int group = 0; group < (any_alike ? groups : 0); ++group) {
      if (memory.alike.groups[image.first + group].lost != 0) {  // for the whole block
        propose_alike(args, image, anchors, Alike(memory.alike, image), group, shared.alike);
      }
    }
  }
  for (int64_t g = threadIdx.x; g < image.count; g += kSearchThreads) {
    if (image.keys[g] != 0) {
      assign(args, image, g);
    }
  }
}

}  // namespace

void force_match(const MatchAnchorsArgs& args, const ForceMemory& memory, Stream stream) {
  const dim3 images(static_cast<unsigned>(args.batch));
  if (args.force == ForceMatch::argmax) {
    launch("match_argmax", match_argmax_kernel, images, dim3(kArgmaxThreads), 0, stream, args, memory);
    return;
  }
  dispatch_floating(args.anchor_dtype, [&]<class T>(Tag<T>) {
    const auto kernel = rows_aligned(static_cast<const T*>(args.anchors)) ? match_bipartite_kernel<true, T>
                                                                          : match_bipartite_kernel<false, T>;
    launch("match_bipartite", kernel, images, dim3(kSearchThreads), 0, stream, args, memory);
  });
}

}  // namespace refinedet::cuda
