// The candidates of each (image, class), side by side: what the kernels of suppress_classes share.
#pragma once

#include "settle_large.h"
#include "suppression.h"

namespace refinedet::cuda {

// Groups of more candidates than a block has threads, which several blocks sort and settle.
struct LargeClasses {
  LargeState state;  // its places are the groups' numbers
  uint32_t* list;    // (groups,): the numbers of the large ones, *state.count of them
  uint32_t* size;    // (groups,): candidates that take part, the first of the group's items once they are sorted
  uint64_t* tiles;   // (images, room): the items in sorted tiles

  // Whether there may be any: then they have up to `most` candidates that take part.
  static int64_t most_of(int64_t anchors, const SuppressionSettings& settings) {
    return min2(anchors, min2(settings.top_k_per_class, settings.top_k));
  }
  static bool may_be(int64_t anchors, const SuppressionSettings& settings) {
    return most_of(anchors, settings) > kMostThreads;
  }
};

// Group g = image * classes + label has items[first[g]] up to items[first[g] + count[g]] of its image.
struct ClassGroups {
  uint64_t* items;  // (images, room); kNoCandidate: sorted out
  int64_t room, groups, classes;
  uint32_t *count, *first, *next;  // (groups,); next: where the next item goes
  uint32_t* total;                 // (images,)
  uint64_t* last;                  // (images,) the last item of the image's best top_k
  LargeClasses large;
  bool any_large;        // whether there may be large groups; else nothing in `large` counts
  uint64_t* kept;        // (images, kept_room): the items that are kept, in any order
  uint32_t* kept_count;  // (images,)
  int64_t kept_room;
  size_t zero_bytes;  // from `count` on

  ClassGroups(Workspace& memory, int64_t images, int64_t anchors, int64_t classes, const SuppressionSettings& settings)
      : room(anchors * classes),
        groups(images * classes),
        classes(classes),
        large{},
        any_large(LargeClasses::may_be(anchors, settings)) {
    // of a group a block keeps all that it can, several blocks a few more than go out
    const int64_t most_kept = max2(int64_t{kMostThreads}, min2(settings.keep_top_k, anchors) + kNmsThreads);
    kept_room = classes * min2(anchors, most_kept);
    const int64_t start = memory.bytes();
    count = memory.take<uint32_t>(groups);
    kept_count = memory.take<uint32_t>(images);
    if (any_large) {
      LargeState& state = large.state;
      // one launch where a block has all that is kept of a group at hand, else several blocks test against it
      state.limit = static_cast<int32_t>(min2<int64_t>(settings.keep_top_k, INT32_MAX));
      state.step = state.limit <= kNmsThreads ? INT32_MAX : kLargeStep;
      state.alone = kMostThreads;
      state.room = static_cast<int32_t>(groups);
      state.count = memory.take<int32_t>(1);
      state.most = memory.take<int32_t>(1);
      state.kept = memory.take<int32_t>(2 * groups);
      state.done = memory.take<int32_t>(groups);
      state.dead = memory.take<uint32_t>(state.dead_words(images * room));
      large.size = memory.take<uint32_t>(groups);
    }
    zero_bytes = static_cast<size_t>(memory.bytes() - start);
    if (any_large) {
      large.list = memory.take<uint32_t>(groups);
      large.tiles = memory.take<uint64_t>(images * room);
    }
    items = memory.take<uint64_t>(images * room);
    kept = memory.take<uint64_t>(images * kept_room);
    first = memory.take<uint32_t>(groups);
    next = memory.take<uint32_t>(groups);
    total = memory.take<uint32_t>(images);
    last = memory.take<uint64_t>(images);
  }

  // Where the items of a group stand among those of all images.
  __device__ __forceinline__ int64_t begin(int64_t group) const { return group / classes * room + first[group]; }
  __device__ __forceinline__ bool is_large(int64_t group) const {
    return any_large && count[group] > static_cast<uint32_t>(kMostThreads);
  }

 private:
  static constexpr int32_t kLargeStep = 2048;
};

// Sorts the items of the large groups, best first, without those behind the image's last; by the hard method moves the
// kept ones to the front, state.kept_of each. `most` candidates of a group take part at most.
void settle_large_classes(const char* name, const Suppression& job, const ClassGroups& groups, int64_t most,
                          Stream stream);

}  // namespace refinedet::cuda
