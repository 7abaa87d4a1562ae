// Advice to the system about large arrays.
#pragma once

#include <cstdint>

namespace refinedet::cpu {

// Asks for huge pages in a large array that is about to be written: the allocator maps it afresh each time, and 4 KiB
// at a time the first writes to it take longer than they do themselves. Only advice: where the system gives none,
// nothing changes.
void ask_for_huge_pages(void* data, int64_t bytes);

}  // namespace refinedet::cpu
