// Walking over the few set flags among many.
#pragma once

#include <cstdint>
#include <cstring>

#include "level.h"

namespace refinedet::cpu::REFINEDET_CPU_LEVEL {

// The places of the ones among flags[0 .. n-1], each 0 or 1, rising; how many they are. `places` has room for n.
REFINEDET_HD int64_t set_places(const uint8_t* flags, int64_t n, int32_t* places) {
  constexpr int64_t kWord = 8;  // flags that are looked at together
  int64_t found = 0;
  for (int64_t first = 0; first < n; first += kWord) {
    const int64_t some = n - first < kWord ? n - first : kWord;
    uint64_t word = 0;
    memcpy(&word, flags + first, static_cast<size_t>(some));
    if (word != 0) {
      for (int64_t i = 0; i < some; ++i) {
        places[found] = static_cast<int32_t>(first + i);  // without a branch: overwritten where the flag is not set
        found += flags[first + i];
      }
    }
  }
  return found;
}

}  // namespace refinedet::cpu::REFINEDET_CPU_LEVEL
