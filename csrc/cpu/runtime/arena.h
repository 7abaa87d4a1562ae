// Scratch memory of a kernel in one piece, so that a task on another thread need not allocate (it could not report that
// this failed).
#pragma once

#include <cstdint>

#include "level.h"

namespace refinedet::cpu::REFINEDET_CPU_LEVEL {

// Hands out pieces of one block of memory; without a block it only measures.
class Arena {
 public:
  explicit Arena(char* block) : block_(block) {}

  template <class T>
  T* take(int64_t n) {
    char* const piece = block_ == nullptr ? nullptr : block_ + used_;
    used_ += (n * static_cast<int64_t>(sizeof(T)) + 63) / 64 * 64;
    return reinterpret_cast<T*>(piece);
  }

  int64_t used() const { return used_; }

 private:
  char* block_;
  int64_t used_ = 0;
};

}  // namespace refinedet::cpu::REFINEDET_CPU_LEVEL
