// Floor: 24 bytes a pair and pass; up to 32,768 pairs that is nothing, and what counts are launches and steps that wait
// for one another. A radix sort of 32 bits takes six launches or more (histogram, scan, four passes), about 20 us.
// Here it is two, one up to 2,048 pairs: tiles of 2,048 sorted in shared memory (66 compare steps of which 15 need the
// whole block, about 3 us), then each pair looks up by binary search how many pairs of the other tiles stand before it
// (eight lanes share the tiles; 11 dependent reads from the L1 or L2 for every eight tiles, 2 to 6 us). The look-ups
// grow with the square of the count: at 32,768 pairs they are 5.4 million, at 65,536 four times as many and slower than
// the radix sort, so from there on that is taken.
#include <stdexcept>

#include "sort.h"
#include "sorted_tiles.h"

namespace refinedet::cuda {
namespace {

constexpr int64_t kFew = 32768;  // pairs up to which tiles are faster than the radix sort
constexpr int kPlaceBits = kTileBits;
constexpr int kMergeThreads = 256;

struct Pairs {
  const uint64_t* keys_in;
  uint64_t* keys_out;
  const uint32_t* values_in;
  uint32_t* values_out;

  __device__ void move(int from, int to) const {
    keys_out[to] = keys_in[from];
    values_out[to] = values_in[from];
  }
};

// A tile's pairs as words, the key's bits above the position in the tile, so that no two are equal and any sort of the
// words is a stable sort of the pairs. One block for each tile, with a thread for two words; where there is but one, it
// moves the pairs as well.
__global__ void sort_tiles_kernel(Pairs pairs, int count, int begin_bit, uint64_t mask, uint64_t* words) {
  GPU_SHARED(uint64_t, tile, [kTile]);
  const int thread = static_cast<int>(threadIdx.x), threads = static_cast<int>(blockDim.x), room = 2 * threads;
  const int first = static_cast<int>(blockIdx.x) * kTile, size = min2(kTile, count - first);
  for (int i = thread; i < room; i += threads) {
    const uint64_t key = i < size ? pairs.keys_in[first + i] >> begin_bit & mask : 0;
    tile[i] = i < size ? key << kPlaceBits | static_cast<uint64_t>(i) : ~uint64_t{0};
  }
  __syncthreads();
  sort_tile(tile);
  for (int i = thread; i < size; i += threads) {
    if (gridDim.x == 1) {
      pairs.move(static_cast<int>(tile[i] & (kTile - 1)), i);
    } else {
      words[first + i] = tile[i];
    }
  }
}

__global__ void merge_tiles_kernel(Pairs pairs, int count, const uint64_t* words) {
  const int thread = static_cast<int>(grid_first()), i = thread / kRankLanes;
  const uint64_t word = i < count ? words[i] : 0, key = word >> kPlaceBits;
  // equal keys: those of earlier tiles stand before
  const int before =
      rank_in_other_tiles(words, count, i, [&](bool earlier) { return (earlier ? key + 1 : key) << kPlaceBits; });
  if (thread % kRankLanes == 0 && i < count) {
    pairs.move(i / kTile * kTile + static_cast<int>(word & (kTile - 1)), i % kTile + before);
  }
}

}  // namespace

int64_t sort_pairs_workspace(int64_t count) {
  return count <= kFew ? count * static_cast<int64_t>(sizeof(uint64_t)) : radix_sort_workspace(count);
}

void sort_pairs(const uint64_t* keys_in, uint64_t* keys_out, const uint32_t* values_in, uint32_t* values_out,
                int64_t count, int begin_bit, int end_bit, void* workspace, Stream stream) {
  const int bits = end_bit - begin_bit;
  if (bits < 0 || bits > kSortBits || count > INT32_MAX) {
    throw std::invalid_argument("sort_pairs: expected at most 52 bits and 2^31 - 1 pairs");
  }
  if (count == 0) {
    return;
  }
  if (count > kFew) {
    return radix_sort(keys_in, keys_out, values_in, values_out, count, begin_bit, end_bit, workspace, stream);
  }
  const Pairs pairs{keys_in, keys_out, values_in, values_out};
  const uint64_t mask = (uint64_t{1} << bits) - 1;
  uint64_t* words = static_cast<uint64_t*>(workspace);
  const unsigned tiles = static_cast<unsigned>(divide_up(count, kTile));
  unsigned threads = kWarp;
  while (threads < kTileThreads && 2 * threads < count) {
    threads *= 2;
  }
  launch("sort_tiles", sort_tiles_kernel, dim3(tiles), dim3(threads), 0, stream, pairs, count, begin_bit, mask, words);
  if (tiles > 1) {
    launch("merge_tiles", merge_tiles_kernel, blocks_for(count * kRankLanes, kMergeThreads), dim3(kMergeThreads), 0,
           stream, pairs, count, words);
  }
}

}  // namespace refinedet::cuda
