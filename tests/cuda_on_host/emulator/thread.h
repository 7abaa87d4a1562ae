// A CUDA thread, and what it can wait in.
#pragma once

#include <cstdint>

#include "fiber.h"
#include "sanitizers.h"
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

#if defined(COH_TSAN)
// What fences make of atomics, which by themselves order nothing: a fence before an atomic publishes what the thread
// did and saw, a fence after an atomic shows what those published who were at its place before.
class Fences {
 public:
  COH_RUNTIME void fence() {
    for (unsigned i = 0; i < (count_ < kMost ? count_ : kMost); ++i) {
      acquire(touched_[i]);
    }
    count_ = 0;
    fenced_ = true;
  }
  COH_RUNTIME void before_atomic(void* place) {
    if (fenced_) {
      release(place);
    }
  }
  COH_RUNTIME void after_atomic(void* place) { touched_[count_++ % kMost] = place; }

 private:
  static constexpr unsigned kMost = 8;
  bool fenced_ = false;
  unsigned count_ = 0;
  void* touched_[kMost];  // the last ones since a fence
};
#else
class Fences {
 public:
  void fence() {}
  void before_atomic(void*) {}
  void after_atomic(void*) {}
};
#endif

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
  Fences fences;

  unsigned lane() const { return number % 32; }
};

}  // namespace coh
