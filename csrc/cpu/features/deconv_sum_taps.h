// The order of deconv_sum's columns, (pixel, channel, tap), and that of the maps: elements move between them in
// registers, since a loop over single elements would take as long as a tenth of the product.
#pragma once

#include "channel_steps.h"
#include "cpu/simd/register_transpose.h"

namespace refinedet::cpu::REFINEDET_CPU_LEVEL {

// Compilers do well with words, but not with halves of them.
template <class C>
inline constexpr bool kInRegisters = sizeof(C) == 2;

// ---------------------------------------------------------------- channels-last maps

// Four interleaved taps of n channels: columns[4 c + k] and block[k n + c].
template <class C, class W>
REFINEDET_HD void split_taps(const C* __restrict columns, W* __restrict block, int64_t n) {
  for (int64_t c = 0; c < n; ++c) {
    block[c] = load(columns[4 * c]);
    block[n + c] = load(columns[4 * c + 1]);
    block[2 * n + c] = load(columns[4 * c + 2]);
    block[3 * n + c] = load(columns[4 * c + 3]);
  }
}

template <class C>
REFINEDET_HD void join_taps(const C* __restrict block, C* __restrict columns, int64_t n) {
  int64_t c = 0;
  if constexpr (kInRegisters<C>) {
    constexpr int64_t lanes = RegisterOf<2>::lanes;
    for (; c + lanes <= n; c += lanes) {
      RegisterOf<2>::type v[4];
      for (int k = 0; k < 4; ++k) {
        load_bytes(block + k * n + c, kLaneBytes, v[k]);
      }
      rotate_up<2>(v);
      rotate_up<2>(v);
      for (int i = 0; i < 4; ++i) {
        store_bytes(columns + 4 * c + i * lanes, kLaneBytes, v[i]);
      }
    }
  }
  for (; c < n; ++c) {
    columns[4 * c] = block[c];
    columns[4 * c + 1] = block[n + c];
    columns[4 * c + 2] = block[2 * n + c];
    columns[4 * c + 3] = block[3 * n + c];
  }
}

// ---------------------------------------------------------------- contiguous maps

// Columns [line][x][channel][tap] of some lines of the input, or of a part of one, and a block of lines of planes of
// the output, [channel][line][ky][2 x + kx]. Channels lie `plane` elements apart in the block, with room for
// kPlaneRoom<C> elements after the last line.
template <class C>
struct PlaneBlock {
  C* data;
  int64_t plane;
  int64_t lines, pixels, channels;
};

// The two taps of a row are neighbors on both sides, and move as one.
template <class C>
inline constexpr int kPairs = kLaneBytes / (2 * static_cast<int>(sizeof(C)));  // in a register
template <class C>
inline constexpr int64_t kPlaneRoom = 2 * kPairs<C>;

template <bool to_block, class C, class Columns>
REFINEDET_HD void move_pair(Columns* pair, C* to) {
  if constexpr (to_block) {
    __builtin_memcpy(to, pair, 2 * sizeof(C));
  } else {
    __builtin_memcpy(pair, to, 2 * sizeof(C));
  }
}

// kPairs / 2 channels, two rows each, of up to kPairs pixels. In the block whole registers are read and written: behind
// the last pixel of a row comes the next one, which is written later, or room.
template <bool to_block, class C, class Columns>
REFINEDET_HD void move_registers(Columns* columns, int64_t stride, C* block, int64_t plane, int64_t row,
                                 int64_t count) {
  constexpr int pairs = kPairs<C>;
  typename RegisterOf<2 * sizeof(C)>::type v[pairs];
#pragma GCC unroll 16
  for (int i = 0; i < pairs; ++i) {
    if constexpr (to_block) {
      load_bytes(columns + min2<int64_t>(i, count - 1) * stride, kLaneBytes, v[i]);
    } else {
      load_bytes(block + i / 2 * plane + i % 2 * row, kLaneBytes, v[i]);
    }
  }
  transpose<2 * sizeof(C)>(v);
#pragma GCC unroll 16
  for (int i = 0; i < pairs; ++i) {
    if constexpr (to_block) {
      store_bytes(block + i / 2 * plane + i % 2 * row, kLaneBytes, v[i]);
    } else if (i < count) {
      store_bytes(columns + i * stride, kLaneBytes, v[i]);
    }
  }
}

template <bool to_block, class C, class Columns>
REFINEDET_HD void move_block(Columns* columns, int64_t stride, const PlaneBlock<C>& block) {
  constexpr int64_t step = kInRegisters<C> ? kPairs<C> : 1;
  const int64_t whole = kInRegisters<C> ? block.channels / (step / 2) * (step / 2) : 0;
  const int64_t row = 2 * block.pixels;
  for (int64_t y = 0; y < block.lines; ++y) {
    for (int64_t next = 0; next < block.pixels; next += step) {
      // the last step of several takes some pixels once more, since it may not spoil what is behind them
      const int64_t x = min2(next, max2<int64_t>(0, block.pixels - step)), count = min2(step, block.pixels - x);
      auto* from = columns + (y * block.pixels + x) * stride;
      C* to = block.data + 2 * y * row + 2 * x;
      if constexpr (kInRegisters<C>) {
        for (int64_t c = 0; c < whole; c += step / 2) {
          move_registers<to_block>(from + 4 * c, stride, to + c * block.plane, block.plane, row, count);
        }
      }
      for (int64_t c = whole; c < block.channels; ++c) {
        for (int64_t i = 0; i < count; ++i) {
          for (int ky = 0; ky < 2; ++ky) {
            move_pair<to_block>(from + i * stride + 4 * c + 2 * ky, to + c * block.plane + ky * row + 2 * i);
          }
        }
      }
    }
  }
}

}  // namespace refinedet::cpu::REFINEDET_CPU_LEVEL
