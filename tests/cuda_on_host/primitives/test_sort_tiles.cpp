// How sort_pairs sorts no more pairs than tiles are fast for.
#include <algorithm>

#include "cuda/primitives/sort.h"
#include "cuda/primitives/sorted_tiles.h"
#include "harness.h"

using namespace refinedet;
using namespace refinedet::harness;

// The tiles lie in the workspace, each sorted; a radix sort would ask for another one.
CUDA_CASE(sort_of_some_thousand_pairs_is_by_tiles) {
  constexpr int64_t kCount = 2 * cuda::kTile + 100;
  Random random(21);
  const Array<uint64_t> keys(kCount), sorted(kCount), words(kCount);
  const Array<uint32_t> items(kCount), sorted_items(kCount);
  for (int64_t i = 0; i < kCount; ++i) {
    keys[i] = static_cast<uint64_t>(random.below(1000));
    items[i] = static_cast<uint32_t>(i);
  }
  const int64_t bytes = cuda::sort_pairs_workspace(kCount);
  expect(bytes == words.size() * int64_t{sizeof(uint64_t)}, "sort_pairs, a word for each pair");
  cuda::sort_pairs(keys.data(), sorted.data(), items.data(), sorted_items.data(), kCount, 0, 10, words.data(), nullptr);
  for (int64_t first = 0; first < kCount; first += cuda::kTile) {
    const int64_t end = std::min<int64_t>(first + cuda::kTile, kCount);
    expect(std::is_sorted(words.begin() + first, words.begin() + end) && words[first] < words[end - 1],
           "sort_pairs, a sorted tile");
  }
}
