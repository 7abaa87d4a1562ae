// A CUDA thread, and what it can wait in.
#pragma once

#include <cstdint>

#include "fiber.h"
#include "types.h"

namespace coh {

enum class Op : uint8_t {
  none,
  sync_warp,
  shuffle,
  ballot,
  match_any,
  reduce_add,
  reduce_min_unsigned,
  reduce_max_unsigned,
  reduce_min,
  reduce_max,
  reduce_and,
  reduce_or,
  reduce_xor,
  multiply_fragments,
  load_matrices,
  sync_block,
  count_block,
  and_block,
  or_block
};

inline const char* name_of(Op op) {
  static const char* const names[] = {"nothing",
                                      "__syncwarp",
                                      "__shfl_sync",
                                      "__ballot/any/all_sync",
                                      "__match_any_sync",
                                      "__reduce_add_sync",
                                      "__reduce_min_sync",
                                      "__reduce_max_sync",
                                      "__reduce_min_sync",
                                      "__reduce_max_sync",
                                      "__reduce_and_sync",
                                      "__reduce_or_sync",
                                      "__reduce_xor_sync",
                                      "mma.sync",
                                      "ldmatrix.sync",
                                      "__syncthreads",
                                      "__syncthreads_count",
                                      "__syncthreads_and",
                                      "__syncthreads_or"};
  return names[static_cast<int>(op)];
}

inline bool needs_whole_warp(Op op) { return op == Op::multiply_fragments || op == Op::load_matrices; }
inline bool is_barrier(Op op) { return op >= Op::sync_block; }

// A call in a kernel file.
struct Place {
  const char* file;
  int line;
};

// What the lanes of a warp do together: each brings something of its own.
using WarpFunction = void (*)(void* const* lanes);

enum class State : uint8_t { fresh, ready, running, waiting, returned };

struct Thread {
  uint3 index;
  unsigned number;  // in its block
  State state;
  Fiber* fiber;
  // What it waits in, or waited in last.
  Op op;
  unsigned mask;
  Place place;
  // What it brings to a warp operation, and what it gets.
  uint64_t value, result;
  int argument;
  WarpFunction function;
  char* sync;

  unsigned lane() const { return number % 32; }
};

}  // namespace coh
