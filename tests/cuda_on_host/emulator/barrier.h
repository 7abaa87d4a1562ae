// __syncthreads and its relatives.
#pragma once

#include <cstring>

#include "scheduler.h"

namespace coh {

class Barrier {
 public:
  static constexpr int kSyncBytes = 16;

  COH_RUNTIME void begin(char* syncs) {
    arrived_ = generation_ = 0;
    syncs_ = syncs;
  }
  COH_RUNTIME uint64_t arrive(Scheduler& block, Thread* t, bool predicate);
  COH_RUNTIME void thread_returned(Scheduler& block, const Thread* t) {
    if (arrived_ > 0) {
      block.fail("divergent barrier: %s returned while others of its block wait at %s at %s:%d", block.where(t),
                 name_of(op_), place_.file, place_.line);
    }
  }

 private:
  COH_RUNTIME void open(Scheduler& block, Thread* last);

  unsigned arrived_ = 0, generation_ = 0;
  Op op_ = Op::none;
  Place place_{};
  uint64_t sum_ = 0;
  char* syncs_ = nullptr;
};

inline uint64_t Barrier::arrive(Scheduler& block, Thread* t, bool predicate) {
  if (block.returned() > 0) {
    block.fail("divergent barrier: %s reached %s at %s:%d after %u thread(s) of its block had returned", block.where(t),
               name_of(t->op), t->place.file, t->place.line, block.returned());
  }
  if (arrived_ == 0) {
    op_ = t->op;
    place_ = t->place;
    sum_ = op_ == Op::and_block ? 1 : 0;
  } else if (op_ != t->op || place_.line != t->place.line || strcmp(place_.file, t->place.file) != 0) {
    block.fail("divergent barrier: %s reached %s at %s:%d while others of its block wait at %s at %s:%d",
               block.where(t), name_of(t->op), t->place.file, t->place.line, name_of(op_), place_.file, place_.line);
  }
  const uint64_t one = predicate ? 1 : 0;
  sum_ = op_ == Op::count_block ? sum_ + one : op_ == Op::and_block ? sum_ & one : sum_ | one;
  ++arrived_;
  char* const sync = syncs_ + (generation_ & 1) * 8;  // the next barrier's arrivals are no part of this one
  release(sync);
  if (arrived_ == block.count()) {
    open(block, t);
  } else {
    block.wait(t);
  }
  acquire(sync);
  return t->result;
}

inline void Barrier::open(Scheduler& block, Thread* last) {
  arrived_ = 0;
  ++generation_;
  for (unsigned i = 0; i < block.count(); ++i) {
    Thread* const t = block.in_order(i);
    t->result = sum_;
    if (t != last) {
      block.make_ready(t);
    }
  }
}

}  // namespace coh
