// How chunks lie in shared memory. (What ldmatrix reads, the emulator looks at: see test_deconv_product.cpp.)
#include <set>

#include "cuda/primitives/product_tile.h"
#include "harness.h"

using namespace refinedet;
using namespace refinedet::cuda;
using namespace refinedet::harness;

namespace {

constexpr int kThreads = 128;

// Every place is of another 16 bytes, and all of the chunk are taken; the 8 pieces that neighboring lanes write at a
// time are in different banks.
template <class Chunk>
void check_places(const char* what, int rows) {
  std::set<int> taken;
  for (int i = 0; i < rows * Chunk::kPieces; i += 8) {
    std::set<int> banks;
    for (int lane = 0; lane < 8; ++lane) {
      const int place = Chunk::place((i + lane) / Chunk::kPieces, (i + lane) % Chunk::kPieces);
      taken.insert(place);
      banks.insert(place / 16 % 8);
    }
    expect(banks.size() == 8, what);
  }
  expect(static_cast<int>(taken.size()) * 16 == Chunk::kBytes && *taken.rbegin() == Chunk::kBytes - 16, what);
}

// A fragment's register of all lanes: 32 words in 32 banks.
template <class Chunk>
void check_words(const char* what, int count) {
  for (int first = 0; first < count; first += 8) {
    for (int line = 0; line < kChunkDepth<float>; line += 4) {
      std::set<int> banks;
      for (int lane = 0; lane < kWarp; ++lane) {
        banks.insert(Chunk::place_of(line + lane % 4, first + lane / 4) / 4 % 32);
      }
      expect(banks.size() == 32, what);
    }
  }
}

template <class T, int count>
void check_chunks() {
  check_places<RowChunk<T, count, kThreads>>("rows", count);
  check_places<LineChunk<T, count, kThreads>>("lines", kChunkDepth<T>);
}

}  // namespace

CUDA_CASE(product_tile_places) {
  check_chunks<Half, 128>();
  check_chunks<Half, 64>();
  check_chunks<float, 128>();
  check_chunks<float, 64>();
  check_words<LineChunk<float, 128, kThreads>>("words of 128 columns", 128);
  check_words<LineChunk<float, 64, kThreads>>("words of 64 columns", 64);
}
