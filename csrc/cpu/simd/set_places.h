// Walking over the few set flags among many.
#pragma once

#include <cstdint>
#include <cstring>

#include "cpu/runtime/level.h"

namespace refinedet::cpu::REFINEDET_CPU_LEVEL {

// The places of the ones among flags[0 .. n-1], each 0 or 1, rising; how many they are. `places` has room for n.
REFINEDET_HD int64_t set_places(const uint8_t* flags, int64_t n, int32_t* places) {
  constexpr int64_t kWord = 8;  // flags that are looked at together
  constexpr uint64_t kAll = 0x0101010101010101u;
  int64_t found = 0, first = 0;
  const auto look = [&](int64_t some) {
    for (int64_t i = 0; i < some; ++i) {
      places[found] = static_cast<int32_t>(first + i);  // without a branch: overwritten where the flag is not set
      found += flags[first + i];
    }
  };
  for (; first + kWord <= n; first += kWord) {
    uint64_t word;
    memcpy(&word, flags + first, kWord);
    if (word == kAll) {
      for (int64_t i = 0; i < kWord; ++i) {
        places[found + i] = static_cast<int32_t>(first + i);
      }
      found += kWord;
    } else if (word != 0) {
      look(kWord);
    }
  }
  look(n - first);
  return found;
}

}  // namespace refinedet::cpu::REFINEDET_CPU_LEVEL
