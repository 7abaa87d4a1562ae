// Copies to shared memory that a CUDA thread has started and not yet waited for.
#pragma once

#include <cstdint>

#include "sanitizers.h"

namespace coh {

// Of 16 bytes; from null: zeros.
struct Copy {
  void* to;
  const void* from;
};

// Plain arrays, as in Scheduler.
class Copies {
 public:
  static constexpr unsigned kMost = 64;  // under way at a time

  COH_RUNTIME void begin() { first_ = count_ = group_ = 0; }
  // False where there is no room for it.
  COH_RUNTIME bool start(void* to, const void* from) {
    if (count_ == kMost) {
      return false;
    }
    waiting_[(first_ + count_++) % kMost] = {{to, from}, group_};
    return true;
  }
  COH_RUNTIME void close_group() { ++group_; }
  // The oldest copy of all groups but the last `groups`, and of what is in no group yet; false where there is none.
  COH_RUNTIME bool take(unsigned groups, Copy& copy) {
    if (count_ == 0 || waiting_[first_].group + groups >= group_) {
      return false;
    }
    copy = waiting_[first_].copy;
    first_ = (first_ + 1) % kMost;
    --count_;
    return true;
  }

 private:
  struct Waiting {
    Copy copy;
    unsigned group;
  };
  Waiting waiting_[kMost];
  unsigned first_ = 0, count_ = 0, group_ = 0;
};

}  // namespace coh
