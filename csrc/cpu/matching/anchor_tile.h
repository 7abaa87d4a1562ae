// A run of anchors with one array per coordinate, in blocks whose bounds tell which of them a box can overlap at all:
// neighbors in a list of anchors are neighbors in the image, so that most blocks are out of a box's reach.
#pragma once

#include "core/matching.h"
#include "cpu/runtime/level.h"
#include "cpu/simd/flags.h"

namespace refinedet::cpu::REFINEDET_CPU_LEVEL {

inline constexpr int64_t kBlock = 16;       // anchors that are worked on together
inline constexpr int64_t kTileBlocks = 64;  // one bit each in a 64-bit mask
inline constexpr int64_t kTile = kBlock * kTileBlocks;

// The smallest box around the anchors of each block; inverted where a block has none.
struct TileBounds {
  alignas(64) float x1[kTileBlocks], y1[kTileBlocks], x2[kTileBlocks], y2[kTileBlocks];
  Box<float> all;  // around the whole tile
};

struct AnchorTile {
  alignas(64) float x1[kTile], y1[kTile], x2[kTile], y2[kTile], area[kTile];
  TileBounds bounds;

  REFINEDET_HD Box<float> box(int64_t i) const { return {x1[i], y1[i], x2[i], y2[i]}; }
};

// f over the kBlock values at x, by halves so that it vectorizes.
template <class F>
REFINEDET_HD float reduce_block(const float* x, const F& f) {
  alignas(64) float m[kBlock / 2];
  for (int64_t i = 0; i < kBlock / 2; ++i) {
    m[i] = f(x[i], x[i + kBlock / 2]);
  }
  for (int64_t i = 0; i < kBlock / 4; ++i) {
    m[i] = f(m[i], m[i + kBlock / 4]);
  }
  static_assert(kBlock == 16);
  return f(f(m[0], m[2]), f(m[1], m[3]));
}

// Reads `count` anchors, at most a tile. Anchors that overlap nothing by definition (NaN or infinite sides of zero
// area) and the rest of the last block become boxes without extent that no bounds grow by.
template <class T>
REFINEDET_HD void load_tile(const T* anchors, int64_t count, AnchorTile& tile) {
  const float inf = __builtin_huge_valf();
  for (int64_t i = 0; i < count; ++i) {
    const Box<float> b = load_float_box(anchors + 4 * i);
    const float a = area(b);
    const bool valid = a == a;
    tile.x1[i] = valid ? b.x1 : inf;
    tile.y1[i] = valid ? b.y1 : inf;
    tile.x2[i] = valid ? b.x2 : -inf;
    tile.y2[i] = valid ? b.y2 : -inf;
    tile.area[i] = valid ? a : 0.0f;
  }
  const int64_t blocks = (count + kBlock - 1) / kBlock;
  for (int64_t i = count; i < blocks * kBlock; ++i) {
    tile.x1[i] = tile.y1[i] = inf;
    tile.x2[i] = tile.y2[i] = -inf;
    tile.area[i] = 0.0f;
  }
  const auto least = [](float a, float b) { return min2(a, b); };
  const auto most = [](float a, float b) { return max2(a, b); };
  for (int64_t j = 0; j < blocks; ++j) {
    tile.bounds.x1[j] = reduce_block(tile.x1 + kBlock * j, least);
    tile.bounds.y1[j] = reduce_block(tile.y1 + kBlock * j, least);
    tile.bounds.x2[j] = reduce_block(tile.x2 + kBlock * j, most);
    tile.bounds.y2[j] = reduce_block(tile.y2 + kBlock * j, most);
  }
  for (int64_t j = blocks; j < kTileBlocks; ++j) {
    tile.bounds.x1[j] = tile.bounds.y1[j] = inf;
    tile.bounds.x2[j] = tile.bounds.y2[j] = -inf;
  }
  tile.bounds.all = {inf, inf, -inf, -inf};
  static_assert(kTileBlocks % kBlock == 0);
  for (int64_t j = 0; j < kTileBlocks; j += kBlock) {
    Box<float>& all = tile.bounds.all;
    all.x1 = min2(all.x1, reduce_block(tile.bounds.x1 + j, least));
    all.y1 = min2(all.y1, reduce_block(tile.bounds.y1 + j, least));
    all.x2 = max2(all.x2, reduce_block(tile.bounds.x2 + j, most));
    all.y2 = max2(all.y2, reduce_block(tile.bounds.y2 + j, most));
  }
}

// Bit j: an anchor of block j may overlap `box`. The anchors of the other blocks have an IoU of exactly zero with it; a
// box with a NaN coordinate reaches none.
REFINEDET_HD uint64_t reachable_blocks(const TileBounds& bounds, const Box<float>& box) {
  if (!reaches(bounds.all, box)) {
    return 0;
  }
  uint8_t reached[kTileBlocks];
  for (int64_t j = 0; j < kTileBlocks; ++j) {
    reached[j] = (bounds.x1[j] < box.x2) & (bounds.x2[j] > box.x1) & (bounds.y1[j] < box.y2) & (bounds.y2[j] > box.y1);
  }
  static_assert(kTileBlocks == 64);
  return flag_bits(reached);
}

}  // namespace refinedet::cpu::REFINEDET_CPU_LEVEL
