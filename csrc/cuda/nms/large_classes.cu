// Classes with more than 1,024 candidates: sorted by several blocks each (sorted_tiles.h), so that the best stand first
// and suppression need not look at all of them for every pick; then settled as batched_nms settles large groups
// (settle_large.h), from keys whose boxes are found anew where they are needed (16 bytes from the L2, 48 and 120
// operations for a cascade's), since room for the boxes of all candidates would be four times that of their keys.
//
// One class of 16,320 candidates: 8 tiles in 3 us, look-ups 3 us, two launches 4 us. Up to 512 detections a class take
// one launch: a block, in rounds of 512 candidates until enough are kept, 6 us each: 200 of 16,320 boxes that rarely
// overlap in 12 us, and 0.2 ms where all but the last few suppress each other's neighbours. More of them take a launch
// for each 2,048 candidates: 8 of 20 us where 5,000 are kept. Without a large class: 2 launches of 2 us, and 1 or 8.
#include "class_groups.h"
#include "cuda/primitives/sorted_tiles.h"

namespace refinedet::cuda {
namespace {

// f(group, piece) for the block's share of the pieces of all large groups, which have so many items each.
template <class F>
__device__ __forceinline__ void for_pieces(const ClassGroups& groups, int items, const F& f) {
  const int count = *groups.large.state.count;
  int64_t dealt = 0;
  for (int g = 0; g < count; ++g) {
    const uint32_t group = groups.large.list[g];
    const int pieces = static_cast<int>(divide_up(groups.count[group], items));
    for (int piece = first_dealt(dealt); piece < pieces; piece += static_cast<int>(gridDim.x)) {
      f(group, piece);
    }
    dealt += pieces;
  }
}

__global__ void __launch_bounds__(kTileThreads) sort_class_tiles_kernel(ClassGroups groups) {
  GPU_SHARED(uint64_t, tile, [kTile]);
  const int thread = static_cast<int>(threadIdx.x);
  for_pieces(groups, kTile, [&](uint32_t group, int piece) {
    const int64_t begin = groups.begin(group) + int64_t{piece} * kTile;
    const int size = min2(kTile, static_cast<int>(groups.count[group]) - piece * kTile);
    const uint64_t last = groups.last[group / groups.classes];
    uint32_t mine = 0, all = 0;  // items that take part
    for (int i = thread; i < kTile; i += kTileThreads) {
      const uint64_t item = i < size ? groups.items[begin + i] : kNoCandidate;
      tile[i] = item;
      mine += item <= last ? 1 : 0;
    }
    block_exclusive_scan(mine, &all);
    if (thread == 0) {
      atomicAdd(&groups.large.size[group], all);
    }
    sort_tile(tile);
    for (int i = thread; i < size; i += kTileThreads) {
      groups.large.tiles[begin + i] = tile[i];  // which this thread writes next, without a barrier
    }
  });
}

__global__ void __launch_bounds__(kTileThreads) merge_class_tiles_kernel(ClassGroups groups) {
  constexpr int kWords = kTileThreads / kRankLanes;
  const int thread = static_cast<int>(threadIdx.x);
  for_pieces(groups, kWords, [&](uint32_t group, int piece) {
    const int64_t begin = groups.begin(group);
    const int count = static_cast<int>(groups.count[group]), i = piece * kWords + thread / kRankLanes;
    const uint64_t* const words = groups.large.tiles + begin;
    const uint64_t word = i < count ? words[i] : kNoCandidate;
    const int before = rank_in_other_tiles(words, count, i, [&](bool) { return word; });
    if (thread % kRankLanes == 0 && word != kNoCandidate) {
      groups.items[begin + i % kTile + before] = word;
    }
  });
}

// A large group's items as boxes.
struct ItemBoxes {
  uint64_t* items;
  int64_t image;
  CandidateKeys keys;
  BoxSource boxes;
  IouTest<float> test;

  __device__ __forceinline__ NmsBox at(int i) const {
    const uint64_t item = items[i];
    const Box<float> box = boxes.box(image, keys.row(item));
    return {box, test.share_of(box), item};
  }
  __device__ __forceinline__ void put(int i, const NmsBox& box) const { items[i] = box.item; }
};

struct SettledClasses {
  LargeState state;
  ClassGroups groups;
  CandidateKeys keys;
  BoxSource boxes;
  IouTest<float> test;

  __device__ int number(int g) const { return static_cast<int>(groups.large.list[g]); }
  __device__ int size(int g) const { return static_cast<int>(groups.large.size[number(g)]); }
  __device__ ItemBoxes list(int g) const {
    return {groups.items + groups.begin(number(g)), number(g) / groups.classes, keys, boxes, test};
  }
  __device__ uint32_t* dead(int g) const { return state.dead_from(groups.begin(number(g))); }
  __device__ void keep(const ItemBoxes&, int, int) const {}
};

}  // namespace

void settle_large_classes(const char* name, const Suppression& job, const ClassGroups& groups, int64_t most,
                          Stream stream) {
  const dim3 blocks(static_cast<unsigned>(2 * multiprocessors())), threads(kTileThreads);  // as many as they hold
  launch(name, sort_class_tiles_kernel, blocks, threads, 0, stream, groups);
  launch(name, merge_class_tiles_kernel, blocks, threads, 0, stream, groups);
  if (job.rules.method == SuppressionMethod::hard) {
    const SettledClasses settled{groups.large.state, groups, job.scores.keys, job.boxes, job.rules.test};
    settle_large(name, settled, most, job.rules.test, stream);
  }
}

}  // namespace refinedet::cuda
