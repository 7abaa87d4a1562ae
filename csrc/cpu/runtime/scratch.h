// A few megabytes per thread that its kernels take their scratch memory from, so that a short call pays neither for the
// allocator nor, call after call, for fresh pages.
#pragma once

#include <cstddef>
#include <cstdint>

namespace refinedet::cpu {

inline constexpr size_t kScratchBytes = size_t{16} << 20;  // address space; pages that no kernel used stay unmapped

// `bytes`, a multiple of 64, at a 64-byte boundary; null where the calling thread's block has no room for them.
char* take_scratch(size_t bytes);

// Gives back what take_scratch gave; what was taken last goes back first, on the thread that took it.
void give_back_scratch(char* memory);

// Uninitialized scratch memory of code that is compiled once, 64-byte aligned, from the thread's block where that has
// room. (Kernels, which are compiled once per level, have Buffer.) A local variable, or a member of one: it dies on the
// thread that made it, in the reverse order of birth. Throws std::runtime_error, which names `purpose`.
class Scratch {
 public:
  Scratch(int64_t bytes, const char* purpose);
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
  ~Scratch();

  char* data() const { return data_; }

 private:
  char* data_;
  bool allocated_;
};

}  // namespace refinedet::cpu
