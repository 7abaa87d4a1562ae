#include "scratch.h"

#include <cstdlib>

namespace refinedet::cpu {
namespace {

struct Block {
  char* base = nullptr;
  size_t used = 0;

  ~Block() { std::free(base); }
};

thread_local Block block;

}  // namespace

void throw_out_of_memory(size_t bytes) {
  throw OutOfMemory("could not allocate " + std::to_string(bytes) + " bytes of scratch memory");
}

char* take_scratch(size_t bytes) {
#if defined(__SANITIZE_ADDRESS__)
  return nullptr;  // a buffer of its own each, so that an access beyond its end is seen
#endif
  if (bytes > kScratchBytes - block.used) {
    return nullptr;
  }
  if (block.base == nullptr) {
    block.base = static_cast<char*>(std::aligned_alloc(64, kScratchBytes));
    if (block.base == nullptr) {
      return nullptr;
    }
  }
  char* const memory = block.base + block.used;
  block.used += bytes;
  return memory;
}

void give_back_scratch(char* memory) { block.used = static_cast<size_t>(memory - block.base); }

}  // namespace refinedet::cpu
