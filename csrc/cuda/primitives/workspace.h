// Scratch memory of a kernel, which the caller gives it.
#pragma once

#include <cstddef>
#include <cstdint>

namespace refinedet::cuda {

// Cuts memory into arrays, each aligned as wide loads want it. Without memory it only counts the bytes.
class Workspace {
 public:
  explicit Workspace(void* memory = nullptr) : memory_(static_cast<char*>(memory)) {}

  template <class T>
  T* take(int64_t count) {
    constexpr int64_t kAlign = 256;
    char* const piece = memory_ == nullptr ? nullptr : memory_ + bytes_;
    bytes_ += (count * static_cast<int64_t>(sizeof(T)) + kAlign - 1) / kAlign * kAlign;
    return reinterpret_cast<T*>(piece);
  }

  int64_t bytes() const { return bytes_; }

 private:
  char* memory_;
  int64_t bytes_ = 0;
};

}  // namespace refinedet::cuda
