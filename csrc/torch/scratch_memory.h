#pragma once

#include "common.h"
#include "cpu/runtime/scratch.h"

namespace refinedet::torch_ops {

// Uninitialized scratch memory of a call on the CPU, at a 64-byte boundary: from the thread's block where that has
// room, so that a short call asks no allocator, else from torch's allocator. A local variable, or a member of one.
class ScratchMemory {
 public:
  explicit ScratchMemory(int64_t bytes) : block_(cpu::take_scratch(static_cast<size_t>(bytes + 63) / 64 * 64)) {
    if (block_ == nullptr) {
      tensor_ = new_tensor({bytes}, ScalarType::Byte);
    }
  }
  ScratchMemory(const ScratchMemory&) = delete;
  ScratchMemory& operator=(const ScratchMemory&) = delete;
  ~ScratchMemory() {
    if (block_ != nullptr) {
      cpu::give_back_scratch(block_);
    }
  }

  char* data() const { return block_ != nullptr ? block_ : static_cast<char*>(tensor_->mutable_data_ptr()); }

 private:
  char* block_;
  std::optional<Tensor> tensor_;
};

}  // namespace refinedet::torch_ops
