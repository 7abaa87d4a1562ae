// A block's shared memory: fresh, and full of garbage, for every block.
#pragma once

#include <cstdlib>
#include <cstring>

#include "scheduler.h"

namespace coh {

class SharedMemory {
 public:
  static constexpr size_t kMost = 227 << 10;  // bytes, on any GPU

  ~SharedMemory() {
    free(arena_);
    free(dynamic_);
  }

  // For a block with `dynamic` bytes beside its GPU_SHARED arrays.
  COH_RUNTIME void begin(size_t dynamic, int fill);
  // The array of this key: made by the first thread that asks.
  COH_RUNTIME void* array(Scheduler& block, const void* key, size_t size, size_t align);
  COH_RUNTIME void* dynamic() const { return dynamic_; }
  COH_RUNTIME bool holds(const void* p, size_t bytes) const {
    const char* const begin = static_cast<const char*>(p);
    const auto in = [=](const char* memory, size_t size) {
      return memory != nullptr && begin >= memory && begin + bytes <= memory + size;
    };
    return in(arena_, used_) || in(dynamic_, dynamic_size_);
  }

 private:
  static constexpr int kArrays = 64;
#if defined(COH_ASAN)
  static constexpr size_t kGap = 64;  // between arrays, poisoned
#else
  static constexpr size_t kGap = 0;
#endif
  static char* allocate(size_t bytes);

  char* arena_ = nullptr;
  char* dynamic_ = nullptr;
  size_t used_ = 0, dynamic_size_ = 0;
  int fill_ = 0;
  int count_ = 0;
  struct {
    const void* key;
    void* memory;
  } arrays_[kArrays];
};

inline char* SharedMemory::allocate(size_t bytes) {
  void* memory = nullptr;
  if (posix_memalign(&memory, 128, bytes) != 0) {
    throw error("cuda_on_host: no memory for shared memory");
  }
  return static_cast<char*>(memory);
}

inline void SharedMemory::begin(size_t dynamic, int fill) {
#if defined(COH_TSAN)
  free(arena_);  // what threads did to it in the last block must not be held against those of this one
  arena_ = nullptr;
#endif
  if (arena_ == nullptr) {
    arena_ = allocate(kMost);
  }
#if defined(COH_ASAN)
  __asan_poison_memory_region(arena_, kMost);
#endif
  used_ = 0;
  count_ = 0;
  fill_ = fill;
  free(dynamic_);
  dynamic_ = nullptr;
  dynamic_size_ = dynamic;
  if (dynamic > 0) {
    dynamic_ = allocate(dynamic);  // of exactly that size, so that AddressSanitizer sees its end
    memset(dynamic_, fill, dynamic);
  }
}

inline void* SharedMemory::array(Scheduler& block, const void* key, size_t size, size_t align) {
  for (int i = 0; i < count_; ++i) {
    if (arrays_[i].key == key) {
      return arrays_[i].memory;
    }
  }
  const Unseen unseen;
  const size_t at = (used_ + kGap + align - 1) / align * align;
  const size_t limit = block.options().shared;
  if (count_ == kArrays || at + size + kGap + dynamic_size_ > (limit < kMost ? limit : kMost)) {
    block.fail("a block has more shared memory than %zu bytes", limit);
  }
  char* const memory = arena_ + at;
#if defined(COH_ASAN)
  __asan_unpoison_memory_region(memory, size);
#endif
  memset(memory, fill_, size);
  used_ = at + size;
  arrays_[count_++] = {key, memory};
  return memory;
}

}  // namespace coh
