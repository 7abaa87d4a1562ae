// Uninitialized scratch memory of a kernel, 64-byte aligned, from the thread's block (scratch.h) where that has room.
// It stands in the level's namespace, so that each level has a copy of its own (see level.h). Buffers die in the
// reverse order of their birth, on the thread that made them: they are local variables, or members of such.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <type_traits>

#include "level.h"
#include "scratch.h"

namespace refinedet::cpu::REFINEDET_CPU_LEVEL {

template <class T>
class Buffer {
  static_assert(std::is_trivially_copyable_v<T>);

 public:
  explicit Buffer(int64_t size) : size_(size) {
    const size_t bytes = (static_cast<size_t>(size) * sizeof(T) + 63) / 64 * 64;
    char* memory = take_scratch(bytes);
    allocated_ = memory == nullptr;
    if (allocated_) {
      memory = static_cast<char*>(std::aligned_alloc(64, bytes == 0 ? 64 : bytes));
      if (memory == nullptr) {
        throw_out_of_memory(bytes);
      }
    }
    data_ = reinterpret_cast<T*>(memory);
  }
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;
  ~Buffer() {
    if (allocated_) {
      std::free(data_);
    } else {
      give_back_scratch(reinterpret_cast<char*>(data_));
    }
  }

  T* data() { return data_; }
  const T* data() const { return data_; }
  int64_t size() const { return size_; }
  T& operator[](int64_t i) { return data_[i]; }
  const T& operator[](int64_t i) const { return data_[i]; }
  T* begin() { return data_; }
  T* end() { return data_ + size_; }

 private:
  T* data_;
  int64_t size_;
  bool allocated_;
};

}  // namespace refinedet::cpu::REFINEDET_CPU_LEVEL
