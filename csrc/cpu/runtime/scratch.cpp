#include "scratch.h"

#include <cstdlib>
#include <stdexcept>
#include <string>

namespace refinedet::cpu {
namespace {

struct Block {
  char* base = nullptr;
  size_t used = 0;

  ~Block() { std::free(base); }
};

thread_local Block block;

}  // namespace

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

Scratch::Scratch(int64_t bytes, const char* purpose) {
  const size_t size = (static_cast<size_t>(bytes) + 63) / 64 * 64;
  data_ = take_scratch(size);
  allocated_ = data_ == nullptr;
  if (allocated_) {
    data_ = static_cast<char*>(std::aligned_alloc(64, size == 0 ? 64 : size));
    if (data_ == nullptr) {
      throw std::runtime_error(std::string("out of memory: ") + std::to_string(bytes) + " bytes were asked for " +
                               purpose);
    }
  }
}

Scratch::~Scratch() {
  if (allocated_) {
    std::free(data_);
  } else {
    give_back_scratch(data_);
  }
}

}  // namespace refinedet::cpu
