// Twins of what csrc/cuda/primitives/tensor_core.h has of PTX: mma, ldmatrix and cp.async.
#pragma once

#include <atomic>
#include <cstring>
#include <type_traits>

#include "core/dtype.h"
#include "device_functions.h"

namespace coh {

// ---------------------------------------------------------------- products

// What a lane brings to a product, and takes from it.
struct Fragments {
  uint32_t a[4], b[2];
  float d[4];
};

// Element `part` of those that a register holds. Of a float a tensor core sees only what TF32 has.
template <class T>
COH_RUNTIME float element_of(uint32_t word, int part) {
  if constexpr (std::is_same_v<T, float>) {
    return from_word<float>(uint64_t{word & ~0x1fffu});
  } else {
    return refinedet::load(T{static_cast<uint16_t>(word >> 16 * part)});
  }
}

// Row and column of an element say where it is; compare the manual's tables, which say it the other way around, in
// tests/cuda_on_host/primitives/test_tensor_core.cpp.
template <class T>
COH_RUNTIME void multiply_fragments_of_warp(void* const* lanes) {
  constexpr int kParts = 4 / static_cast<int>(sizeof(T)), kDepth = 8 * kParts;
  Fragments* all[32];
  for (int lane = 0; lane < 32; ++lane) {
    all[lane] = static_cast<Fragments*>(lanes[lane]);
  }
  float a[16][kDepth], b[8][kDepth];
  for (int k = 0; k < kDepth; ++k) {
    const int lane_of_four = k / kParts % 4, half = k / kParts / 4, part = k % kParts;
    for (int row = 0; row < 16; ++row) {
      a[row][k] = element_of<T>(all[row % 8 * 4 + lane_of_four]->a[row / 8 + 2 * half], part);
    }
    for (int column = 0; column < 8; ++column) {
      b[column][k] = element_of<T>(all[column * 4 + lane_of_four]->b[half], part);
    }
  }
  for (int row = 0; row < 16; ++row) {
    for (int column = 0; column < 8; ++column) {
      float& d = all[row % 8 * 4 + column / 2]->d[row / 8 * 2 + column % 2];
      double sum = static_cast<double>(d);
      for (int k = 0; k < kDepth; ++k) {
        sum += static_cast<double>(a[row][k]) * static_cast<double>(b[column][k]);
      }
      d = static_cast<float>(sum);
    }
  }
}

template <class T>
void multiply_fragments(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2], COH_HERE) {
  Fragments mine;
  memcpy(mine.a, a, sizeof a);
  memcpy(mine.b, b, sizeof b);
  memcpy(mine.d, d, sizeof d);
  worker->together(Op::multiply_fragments, &multiply_fragments_of_warp<T>, &mine, place);
  memcpy(d, mine.d, sizeof d);
}

// ---------------------------------------------------------------- matrices

// Of 8 rows that a matrix is loaded from, pairs in the same banks: a GPU reads those one after the other. Counted over
// all matrices of all launches.
inline std::atomic<int64_t> bank_conflicts{0};

struct MatrixRow {
  const void* place;
  uint16_t elements[8];
  uint32_t result[4];
};

template <bool transposed>
COH_RUNTIME void exchange_matrices(void* const* lanes) {
  const auto row_of = [&](int lane) { return static_cast<MatrixRow*>(lanes[lane]); };
  for (int matrix = 0; matrix < 4; ++matrix) {
    for (int lane = 0; lane < 32; ++lane) {
      const int row = lane / 4, pair = lane % 4 * 2;
      uint32_t word = 0;
      for (int i = 0; i < 2; ++i) {
        const uint16_t element =
            transposed ? row_of(8 * matrix + pair + i)->elements[row] : row_of(8 * matrix + row)->elements[pair + i];
        word |= uint32_t{element} << 16 * i;
      }
      row_of(lane)->result[matrix] = word;
    }
    for (int i = 0; i < 8; ++i) {
      for (int j = 0; j < i; ++j) {
        const auto first = reinterpret_cast<uintptr_t>(row_of(8 * matrix + i)->place);
        const auto second = reinterpret_cast<uintptr_t>(row_of(8 * matrix + j)->place);
        bank_conflicts += first != second && first % 128 == second % 128;
      }
    }
  }
}

template <bool transposed>
void load_matrices(uint32_t (&r)[4], const void* row, COH_HERE) {
  worker->expect_shared(row, 16, "ldmatrix", place);
  MatrixRow mine;
  mine.place = row;
  memcpy(mine.elements, row, sizeof mine.elements);
  worker->together(Op::load_matrices, &exchange_matrices<transposed>, &mine, place);
  memcpy(r, mine.result, sizeof r);
}

// ---------------------------------------------------------------- copies

// Until it is waited for there is garbage where the copy goes: who reads too early, or starts a copy before others have
// read, gets that, and ThreadSanitizer sees the writing.
inline void copy_async(void* shared, const void* global, bool inside, COH_HERE) {
  worker->expect_shared(shared, 16, "cp.async", place);
  if (reinterpret_cast<uintptr_t>(global) % 16 != 0) {
    worker->stop("cp.async: an address of global memory that is not aligned to 16 bytes", place);
  }
  memset(shared, 0xFB, 16);
  if (!worker->copies().start(shared, inside ? global : nullptr)) {
    worker->stop("cp.async: more copies under way than the emulator has room for", place);
  }
}

inline void close_copy_group() { worker->copies().close_group(); }

inline void wait_for_copies(unsigned groups) {
  for (Copy copy; worker->copies().take(groups, copy);) {
    if (copy.from != nullptr) {
      memcpy(copy.to, copy.from, 16);
    } else {
      memset(copy.to, 0, 16);
    }
  }
}

}  // namespace coh
