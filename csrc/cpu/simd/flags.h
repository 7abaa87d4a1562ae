// Many flags, bytes that are 0 or 1, at a time.
#pragma once

#include <cstdint>
#include <cstring>

#include "cpu/runtime/level.h"

namespace refinedet::cpu::REFINEDET_CPU_LEVEL {

// 64 flags as bits.
REFINEDET_HD uint64_t flag_bits(const uint8_t* flags) {
  uint64_t bits = 0;
  for (int j = 0; j < 64; j += 8) {
    uint64_t eight;
    memcpy(&eight, flags + j, 8);
    bits |= ((eight * 0x0102040810204080u) >> 56) << j;  // gathers the lowest bit of each byte, little end first
  }
  return bits;
}

// The positions of the flags that are set among n, rising; how many they are. `positions` has room for n.
REFINEDET_HD int64_t positions_of_set(const uint8_t* flags, int64_t n, int32_t* positions) {
  constexpr int64_t kWord = 8;  // flags that are looked at together
  constexpr uint64_t kAll = 0x0101010101010101u;
  int64_t found = 0, first = 0;
  const auto look = [&](int64_t some) {
    for (int64_t i = 0; i < some; ++i) {
      positions[found] = static_cast<int32_t>(first + i);  // without a branch: overwritten where the flag is not set
      found += flags[first + i];
    }
  };
  for (; first + kWord <= n; first += kWord) {
    uint64_t word;
    memcpy(&word, flags + first, kWord);
    if (word == kAll) {
      for (int64_t i = 0; i < kWord; ++i) {
        positions[found + i] = static_cast<int32_t>(first + i);
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
