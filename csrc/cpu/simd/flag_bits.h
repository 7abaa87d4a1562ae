#pragma once

#include <cstdint>
#include <cstring>

#include "core/macros.h"

namespace refinedet::cpu {

// 64 bytes that are 0 or 1, as bits.
REFINEDET_HD uint64_t flag_bits(const uint8_t* flags) {
  uint64_t bits = 0;
  for (int j = 0; j < 64; j += 8) {
    uint64_t eight;
    memcpy(&eight, flags + j, 8);
    bits |= ((eight * 0x0102040810204080u) >> 56) << j;  // gathers the lowest bit of each byte, little end first
  }
  return bits;
}

}  // namespace refinedet::cpu
