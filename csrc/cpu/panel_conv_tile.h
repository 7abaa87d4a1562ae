// The inner loop of panel_conv: some output channels by a panel of pixels, held in registers over all terms.
#pragma once

#include "lanes.h"

namespace refinedet::cpu::REFINEDET_CPU_LEVEL {

using Floats = Lanes<float>;
inline constexpr int64_t kFloats = kLanes<float>;

// Rows by vectors that fill the registers: a sum each, the vectors of pixels, and a weight.
#if defined(__AVX512F__)
inline constexpr int kPanelVectors = 3;
inline constexpr int kTileRows[] = {9, 8, 6};
#else
inline constexpr int kPanelVectors = 2;
inline constexpr int kTileRows[] = {6, 5, 4};
#endif
inline constexpr int64_t kPanel = kPanelVectors * kFloats;

// Rows that leave the fewest over of a group's channels.
inline int64_t tile_rows(int64_t channels) {
  int64_t best = kTileRows[0];
  for (const int64_t rows : kTileRows) {
    best = (channels + rows - 1) / rows * rows < (channels + best - 1) / best * best ? rows : best;
  }
  return best;
}

// Bias, ReLU, shortcut, ReLU.
struct PanelFinish {
  const float* bias;      // of the tile's first channel, or null
  const float* shortcut;  // as `out`, or null
  float low, last_low;    // 0 for a ReLU, else minus infinity
};

// out[r][pixel] = finish(sum over k of weight[k][r] * pixels[offsets[k] + pixel])
struct PanelTile {
  const float* weight;  // (terms, rows of the template)
  const float* pixels;
  const int64_t* offsets;  // (terms), or null: `step` times the term
  int64_t step;
  int64_t terms;
  int64_t rows;  // that are written
  float* out;
  int64_t out_row;  // elements between two rows of `out`, and of the shortcut
};

REFINEDET_HD Floats at_least(float low, Floats x) {
  const Floats floor = all_lanes(low);
  return floor > x ? floor : x;  // NaN stays
}

template <int kRows, int kVectors>
void panel_tile(const PanelTile& t, const PanelFinish& finish) {
  Floats sums[kRows][kVectors] = {};
  const float* weight = t.weight;
  const float* next = t.weight + kRows * t.terms;  // the next tile's weights, of which a network has many megabytes
  const auto add = [&](const float* pixels) __attribute__((always_inline)) {
    __builtin_prefetch(next);
    Floats x[kVectors];
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) {
      x[v] = load_lanes(pixels + v * kFloats);
    }
#pragma GCC unroll 9
    for (int r = 0; r < kRows; ++r) {
      const Floats w = all_lanes(weight[r]);
#pragma GCC unroll 4
      for (int v = 0; v < kVectors; ++v) {
        sums[r][v] = multiply_add<float>(w, x[v], sums[r][v]);
      }
    }
    weight += kRows;
    next += kRows;
  };
  if (t.offsets == nullptr) {
    const float* pixels = t.pixels;
    for (int64_t k = 0; k < t.terms; ++k, pixels += t.step) {
      add(pixels);
    }
  } else {
    for (int64_t k = 0; k < t.terms; ++k) {
      add(t.pixels + t.offsets[k]);
    }
  }
#pragma GCC unroll 9
  for (int r = 0; r < kRows; ++r) {
    if (r == t.rows) {
      return;
    }
    const float bias = finish.bias == nullptr ? 0.0f : finish.bias[r];
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) {
      const int64_t at = r * t.out_row + v * kFloats;
      Floats y = at_least(finish.low, sums[r][v] + all_lanes(bias));
      if (finish.shortcut != nullptr) {
        y = at_least(finish.last_low, y + load_lanes(finish.shortcut + at));
      }
      store_lanes(t.out + at, y);
    }
  }
}

template <int kRows>
void panel_tile(int64_t vectors, const PanelTile& t, const PanelFinish& finish) {
  if constexpr (kPanelVectors >= 3) {
    if (vectors == 3) {
      return panel_tile<kRows, 3>(t, finish);
    }
  }
  if (vectors == 2) {
    return panel_tile<kRows, 2>(t, finish);
  }
  panel_tile<kRows, 1>(t, finish);
}

// kRows: one of kTileRows. vectors: at most kPanelVectors.
inline void panel_tile(int64_t rows, int64_t vectors, const PanelTile& t, const PanelFinish& finish) {
  if (rows == kTileRows[0]) {
    return panel_tile<kTileRows[0]>(vectors, t, finish);
  }
  if (rows == kTileRows[1]) {
    return panel_tile<kTileRows[1]>(vectors, t, finish);
  }
  panel_tile<kTileRows[2]>(vectors, t, finish);
}

}  // namespace refinedet::cpu::REFINEDET_CPU_LEVEL
