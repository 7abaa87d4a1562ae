// Warp operations: lanes that name the same mask meet, wherever in the kernel they call from, and what each brought is
// combined. Lanes that have returned are not waited for.
#pragma once

#include "scheduler.h"

namespace coh {

class Warp {
 public:
  static constexpr int kSyncs = 64, kSyncBytes = kSyncs * 8;

  COH_RUNTIME void begin(Thread* lanes, unsigned count, char* syncs) {
    lanes_ = lanes;
    alive_ = count >= 32 ? ~0u : (1u << count) - 1;
    meetings_ = next_sync_ = 0;
    syncs_ = syncs;
  }
  COH_RUNTIME uint64_t arrive(Scheduler& block, Thread* t);
  COH_RUNTIME void thread_returned(Scheduler& block, const Thread* t);

 private:
  struct Meeting {
    Op op;
    unsigned mask, arrived;
    char* sync;
  };
  COH_RUNTIME void finish(Scheduler& block, int k, const Thread* last);
  COH_RUNTIME void run_function(Scheduler& block, const Meeting& m);
  COH_RUNTIME uint64_t combine(const Meeting& m) const;
  COH_RUNTIME uint64_t result_for(const Meeting& m, const Thread& t, uint64_t combined) const;

  Thread* lanes_ = nullptr;
  unsigned alive_ = 0;
  Meeting pending_[32];
  int meetings_ = 0;
  unsigned next_sync_ = 0;
  char* syncs_ = nullptr;
};

inline uint64_t Warp::arrive(Scheduler& block, Thread* t) {
  const unsigned bit = 1u << t->lane();
  if ((t->mask & bit) == 0) {
    block.fail("%s at %s:%d: %s is not in its own mask 0x%08x", name_of(t->op), t->place.file, t->place.line,
               block.where(t), t->mask);
  }
  int k = 0;
  while (k < meetings_ && pending_[k].mask != t->mask) {
    ++k;
  }
  if (k == meetings_) {
    pending_[meetings_++] = {t->op, t->mask, 0, syncs_ + next_sync_++ % kSyncs * 8};
  }
  Meeting& m = pending_[k];
  if (m.op != t->op) {
    block.fail("divergent warp operation: %s calls %s at %s:%d while lanes of the same mask wait in %s", block.where(t),
               name_of(t->op), t->place.file, t->place.line, name_of(m.op));
  }
  m.arrived |= bit;
  char* const sync = m.sync;
  const bool orders_memory = t->op == Op::sync_warp;  // alone among them
  if (orders_memory) {
    release(sync);
  }
  if (m.arrived == (t->mask & alive_)) {
    finish(block, k, t);
  } else {
    block.wait(t);
  }
  if (orders_memory) {
    acquire(sync);
  }
  return t->result;
}

inline void Warp::thread_returned(Scheduler& block, const Thread* t) {
  alive_ &= ~(1u << t->lane());
  for (int k = 0; k < meetings_;) {
    if (pending_[k].arrived == (pending_[k].mask & alive_)) {
      finish(block, k, nullptr);  // another takes its place
    } else {
      ++k;
    }
  }
}

inline uint64_t Warp::combine(const Meeting& m) const {
  uint64_t all = 0;
  bool first = true;
  for (int lane = 0; lane < 32; ++lane) {
    if ((m.arrived >> lane & 1) == 0) {
      continue;
    }
    const uint32_t a = static_cast<uint32_t>(all), b = static_cast<uint32_t>(lanes_[lane].value);
    const int32_t signed_a = static_cast<int32_t>(a), signed_b = static_cast<int32_t>(b);
    uint32_t both = b;
    switch (m.op) {
      case Op::ballot:
        both = a | static_cast<uint32_t>(b != 0) << lane;
        break;
      case Op::reduce_add:
        both = a + b;
        break;
      case Op::reduce_min_unsigned:
        both = a < b ? a : b;
        break;
      case Op::reduce_max_unsigned:
        both = a > b ? a : b;
        break;
      case Op::reduce_min:
        both = signed_a < signed_b ? a : b;
        break;
      case Op::reduce_max:
        both = signed_a > signed_b ? a : b;
        break;
      case Op::reduce_and:
        both = a & b;
        break;
      case Op::reduce_or:
        both = a | b;
        break;
      case Op::reduce_xor:
        both = a ^ b;
        break;
      default:
        break;
    }
    all = first && m.op != Op::ballot ? b : both;
    first = false;
  }
  return m.op == Op::ballot ? all | static_cast<uint64_t>(m.arrived) << 32 : all;
}

inline uint64_t Warp::result_for(const Meeting& m, const Thread& t, uint64_t combined) const {
  constexpr uint64_t kUndefined = 0xFBFBFBFBFBFBFBFBull;  // what a lane gets from one that takes no part
  if (m.op == Op::shuffle) {
    return (m.arrived >> t.argument & 1) != 0 ? lanes_[t.argument].value : kUndefined;
  }
  if (m.op != Op::match_any) {
    return combined;
  }
  uint64_t equal = 0;
  for (int lane = 0; lane < 32; ++lane) {
    if ((m.arrived >> lane & 1) != 0 && lanes_[lane].value == t.value) {
      equal |= 1u << lane;
    }
  }
  return equal;
}

// Also where lanes have returned: that is an error of the kernel's.
inline void Warp::run_function(Scheduler& block, const Meeting& m) {
  void* brought[32];
  for (int lane = 0; lane < 32; ++lane) {
    if ((m.arrived >> lane & 1) == 0) {
      block.fail("%s in block (%u,%u,%u): lane %d of a warp takes no part in it", name_of(m.op), blockIdx.x, blockIdx.y,
                 blockIdx.z, lane);
    }
    brought[lane] = reinterpret_cast<void*>(lanes_[lane].value);
  }
  lanes_[0].function(brought);
}

inline void Warp::finish(Scheduler& block, int k, const Thread* last) {
  const Meeting m = pending_[k];
  pending_[k] = pending_[--meetings_];
  if (needs_whole_warp(m.op)) {
    run_function(block, m);
  }
  const uint64_t combined = combine(m);
  for (int lane = 0; lane < 32; ++lane) {
    if ((m.arrived >> lane & 1) != 0) {
      lanes_[lane].result = result_for(m, lanes_[lane], combined);
    }
  }
  for (int lane = 0; lane < 32; ++lane) {
    if ((m.arrived >> lane & 1) != 0 && &lanes_[lane] != last) {
      block.make_ready(&lanes_[lane]);
    }
  }
}

}  // namespace coh
