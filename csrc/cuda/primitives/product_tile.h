// A block's tile of a matrix product on tensor cores: how chunks of the two factors lie in shared memory, so that 16
// bytes at a time come in by cp.async and leave as fragments, both without bank conflicts.
//
// A chunk is kChunkBytes of depth, two products. Pieces of 16 bytes change places by an exclusive or with the number of
// their row: the 8 pieces that a matrix is read from, and the 8 that lanes copy at a time, are in different banks.
#pragma once

#include "pack.h"
#include "tensor_core.h"

namespace refinedet::cuda {

inline constexpr int kChunkBytes = 64;

// Elements of depth in a chunk.
template <class T>
inline constexpr int kChunkDepth = kChunkBytes / static_cast<int>(sizeof(T));

// A factor's piece of 16 bytes in global memory; zeros where it is not inside.
template <class T>
struct Piece {
  const T* data;
  bool inside;
};

template <class T>
__device__ __forceinline__ void round_fragment([[maybe_unused]] uint32_t (&words)[4]) {
  if constexpr (std::is_same_v<T, float>) {
    GPU_UNROLL
    for (uint32_t& word : words) {
      word = round_to_tf32(word);
    }
  }
}

// `count` rows of the left factor, in which the depth lies side by side.
template <class T, int count, int threads>
struct RowChunk {
  static constexpr int kBytes = count * kChunkBytes, kPieces = kChunkBytes / 16;  // pieces of a row

  // In bytes.
  static REFINEDET_HD int place(int row, int piece) { return row * kChunkBytes + (piece ^ (row >> 1 & 3)) * 16; }

  // Copies piece(row, n) for all rows, where n counts the pieces of a row. All threads of the block call it.
  template <class F>
  static __device__ __forceinline__ void copy(char* chunk, const F& piece) {
    const int thread = static_cast<int>(threadIdx.x), n = thread % kPieces;
    GPU_UNROLL
    for (int first = 0; first < count; first += threads / kPieces) {
      const int row = first + thread / kPieces;
      const Piece<T> from = piece(row, n);
      copy_async(chunk + place(row, n), from.data, from.inside);
    }
  }

  // The fragment of 16 rows from `first` on, for one of the chunk's two products.
  static __device__ __forceinline__ void load_rows(uint32_t (&a)[4], const char* chunk, int first, int product) {
    const int lane = static_cast<int>(threadIdx.x) % kWarp;
    load_matrices(a, chunk + place(first + lane % 16, 2 * product + lane / 16));
    round_fragment<T>(a);
  }
};

// `count` rows of the left factor, or columns of the right one, which lie side by side: a line for every step of depth.
template <class T, int count, int threads>
struct LineChunk {
  static constexpr int kLine = count * static_cast<int>(sizeof(T)), kDepth = kChunkDepth<T>;
  static constexpr int kBytes = kDepth * kLine, kPieces = kLine / 16;  // pieces of a line

  static REFINEDET_HD int place(int line, int piece) {
    // 16-bit elements are read 8 lines of a piece at a time; floats 4 lines of two neighbors
    const int turn = sizeof(T) == 2 ? line & 7 : 2 * (line & 3);
    return line * kLine + (piece ^ turn) * 16;
  }
  static REFINEDET_HD int place_of(int line, int element) {
    constexpr int n = kPack<T>;
    return place(line, element / n) + element % n * static_cast<int>(sizeof(T));
  }

  // Copies piece(line, n) for all lines, where n counts the pieces of a line. All threads of the block call it.
  template <class F>
  static __device__ __forceinline__ void copy(char* chunk, const F& piece) {
    const int thread = static_cast<int>(threadIdx.x), n = thread % kPieces;
    GPU_UNROLL
    for (int first = 0; first < kDepth; first += threads / kPieces) {
      const int line = first + thread / kPieces;
      const Piece<T> from = piece(line, n);
      copy_async(chunk + place(line, n), from.data, from.inside);
    }
  }

  // The fragment of 16 rows from `first` on.
  static __device__ __forceinline__ void load_rows(uint32_t (&a)[4], const char* chunk, int first, int product) {
    const int lane = static_cast<int>(threadIdx.x) % kWarp;
    if constexpr (sizeof(T) == 2) {
      load_transposed_matrices(a, chunk + place(16 * product + lane % 8 + lane / 16 * 8, first / 8 + lane / 8 % 2));
    } else {
      const int line = 8 * product + lane % 4, row = first + lane / 4;
      GPU_UNROLL
      for (int i = 0; i < 4; ++i) {
        a[i] = load_word(chunk + place_of(line + i / 2 * 4, row + i % 2 * 8));
      }
      round_fragment<T>(a);
    }
  }

  // The fragments of 8 columns from `first` on, and of the next 8.
  static __device__ __forceinline__ void load_columns(uint32_t (&b)[2][2], const char* chunk, int first, int product) {
    const int lane = static_cast<int>(threadIdx.x) % kWarp;
    uint32_t words[4];
    if constexpr (sizeof(T) == 2) {
      load_transposed_matrices(words, chunk + place(16 * product + lane % 16, first / 8 + lane / 16));
    } else {
      const int line = 8 * product + lane % 4, column = first + lane / 4;
      GPU_UNROLL
      for (int i = 0; i < 4; ++i) {
        words[i] = load_word(chunk + place_of(line + i % 2 * 4, column + i / 2 * 8));
      }
      round_fragment<T>(words);
    }
    b[0][0] = words[0], b[0][1] = words[1], b[1][0] = words[2], b[1][1] = words[3];
  }

 private:
  static __device__ __forceinline__ uint32_t load_word(const char* p) { return *reinterpret_cast<const uint32_t*>(p); }
};

// A tile of 2 x 2 warps, each of row_tiles * 16 rows by column_tiles * 8 columns; `stages` chunks are in shared memory,
// and `blocks` blocks on a multiprocessor.
template <int row_tiles, int column_tiles, int stages, int blocks>
struct ProductTile {
  static constexpr int kThreads = 4 * kWarp, kStages = stages, kBlocks = blocks;
  static constexpr int kRowTiles = row_tiles, kColumnTiles = column_tiles;
  static constexpr int kWarpRows = 16 * row_tiles, kWarpColumns = 8 * column_tiles;
  static constexpr int kRows = 2 * kWarpRows, kColumns = 2 * kWarpColumns;
  using Sums = float[row_tiles][column_tiles][4];  // a thread's, as multiply_fragments has them

  // This thread's warp in the tile.
  static __device__ __forceinline__ int warp_row() { return static_cast<int>(threadIdx.x) / kWarp / 2 * kWarpRows; }
  static __device__ __forceinline__ int warp_column() {
    return static_cast<int>(threadIdx.x) / kWarp % 2 * kWarpColumns;
  }

  // Adds the product of a chunk of Left and one of Right.
  template <class T, class Left, class Right>
  static __device__ __forceinline__ void multiply(Sums& sums, const char* left, const char* right) {
    [[maybe_unused]] constexpr int kAtOnce = sizeof(T) == 2 ? 2 : 1;  // both of float would spill registers
    GPU_UNROLL_BY(kAtOnce)
    for (int product = 0; product < 2; ++product) {
      uint32_t a[row_tiles][4];
      GPU_UNROLL
      for (int i = 0; i < row_tiles; ++i) {
        Left::load_rows(a[i], left, warp_row() + 16 * i, product);
      }
      GPU_UNROLL
      for (int j = 0; j < column_tiles; j += 2) {
        uint32_t b[2][2];
        Right::load_columns(b, right, warp_column() + 8 * j, product);
        GPU_UNROLL
        for (int i = 0; i < row_tiles; ++i) {
          multiply_fragments<T>(sums[i][j], a[i], b[0]);
          multiply_fragments<T>(sums[i][j + 1], a[i], b[1]);
        }
      }
    }
  }
};

}  // namespace refinedet::cuda
