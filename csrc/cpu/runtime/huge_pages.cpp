#include "huge_pages.h"

#if defined(__linux__)
#include <sys/mman.h>
#endif

namespace refinedet::cpu {

void ask_for_huge_pages([[maybe_unused]] void* data, [[maybe_unused]] int64_t bytes) {
#if defined(__linux__) && defined(MADV_HUGEPAGE)
  constexpr uintptr_t kHugePage = uintptr_t{2} << 20;  // of x86-64, and of 64-bit Arm with pages of 4 KiB
  constexpr uintptr_t kLarge = 16 * kHugePage;         // what glibc maps afresh in every call; it keeps what is smaller
  const auto begin = reinterpret_cast<uintptr_t>(data), size = static_cast<uintptr_t>(bytes);
  if (size >= kLarge) {  // the whole huge pages within it
    const uintptr_t first = (begin + kHugePage - 1) / kHugePage * kHugePage;
    madvise(reinterpret_cast<void*>(first), (begin + size - first) / kHugePage * kHugePage, MADV_HUGEPAGE);
  }
#endif
}

}  // namespace refinedet::cpu
