// Where the kept boxes lie, for suppression that keeps so many that to test each box against all of them takes too long.
#pragma once

#include "../geometry/iou_test.h"
#include "buffer.h"

namespace refinedet::cpu::REFINEDET_CPU_LEVEL {

// Kept boxes by size and place. Those whose longer side lies in [s/2, s), s a power of two, make a level of squares of
// side s, and each stands in the square that holds its center; the squares of all levels share one hash table.
//
// A box can only be suppressed by one that it overlaps, of a size not too different: beyond a threshold t the sides of
// the kept box are longer than t times its own, and the reverse. What is left out has an IoU of at most t, whatever was
// rounded: the bounds leave room for that, and boxes of extreme size are left to the caller.
template <class W>
class KeptGrid {
 public:
  enum class Kind { overlaps_nothing, regular, extreme };

  // Room for `most` kept boxes.
  explicit KeptGrid(int64_t most) : heads_(table_size(most)), next_(most), shift_(shift_of(heads_.size())) {}

  // A threshold of nearly 0 would make large boxes look through the squares of all smaller levels.
  static bool suits(W threshold) { return threshold >= W(0.05); }

  static REFINEDET_HD Kind kind_of(const Box<W>& box) {
    const W size = area(box);
    if (!(size > 0 && size < static_cast<W>(__builtin_huge_val()))) {
      return Kind::overlaps_nothing;
    }
    const int level = level_of(longer_side(box));
    return size >= W(1e-30) && level > 0 && level < kLevels ? Kind::regular : Kind::extreme;
  }

  void clear() {
    memset(heads_.data(), 0xff, static_cast<size_t>(heads_.size()) * sizeof(int32_t));
    memset(count_, 0, sizeof(count_));
  }

  // Row `row` of the kept boxes, a regular one.
  void add(const Box<W>& box, int64_t row) {
    const int level = level_of(longer_side(box));
    const double side = side_of(level);
    int32_t& head = heads_[slot(cell(center(box.x1, box.x2) / side), cell(center(box.y1, box.y2) / side), level)];
    next_[row] = head;
    head = static_cast<int32_t>(row);
    ++count_[level];
  }

  // Calls hit(row) for each kept box that may suppress `box`, a regular one, and for some others, until it returns true;
  // whether it did.
  template <class Hit>
  REFINEDET_HD bool any(const Box<W>& box, W threshold, const Hit& hit) const {
    const double longer = longer_side(box);
    for (int level = 1; level < kLevels; ++level) {
      const double side = side_of(level);
      if (count_[level] == 0 || side < kLess * threshold * longer || kLess * threshold * side / 2 > longer) {
        continue;
      }
      const double reach = 0.51 * side;  // half the side of a kept box, and more than what is rounded below
      const int64_t x_begin = cell((box.x1 - reach) / side), x_end = cell((box.x2 + reach) / side);
      const int64_t y_begin = cell((box.y1 - reach) / side), y_end = cell((box.y2 + reach) / side);
      for (int64_t y = y_begin; y <= y_end; ++y) {
        for (int64_t x = x_begin; x <= x_end; ++x) {
          for (int32_t row = heads_[slot(x, y, level)]; row >= 0; row = next_[row]) {
            if (hit(row)) {
              return true;
            }
          }
        }
      }
    }
    return false;
  }

 private:
  static constexpr int kLevels = 200, kUnitLevel = 100;  // level kUnitLevel: sides in [1, 2)
  static constexpr double kLess = 1 - 1e-4;
  static constexpr double kMostSquares = 1e9;  // from the origin; all beyond are one

  Buffer<int32_t> heads_, next_;  // the first row of each slot and the one after each row, -1 for none
  int shift_;
  int64_t count_[kLevels];

  static int64_t table_size(int64_t most) {
    int64_t size = 1024;
    while (size < most) {
      size *= 2;
    }
    return size;
  }
  static int shift_of(int64_t size) { return 1 + __builtin_clzll(static_cast<uint64_t>(size)); }

  static REFINEDET_HD double longer_side(const Box<W>& box) {
    return max2(static_cast<double>(box.x2) - box.x1, static_cast<double>(box.y2) - box.y1);
  }
  static REFINEDET_HD double center(W low, W high) { return (static_cast<double>(low) + high) / 2; }

  static REFINEDET_HD int level_of(double longer) {
    uint64_t bits;
    memcpy(&bits, &longer, sizeof(bits));
    return static_cast<int>(bits >> 52) - 1023 + kUnitLevel;
  }
  static REFINEDET_HD double side_of(int level) {
    const uint64_t bits = static_cast<uint64_t>(level - kUnitLevel + 1 + 1023) << 52;
    double side;
    memcpy(&side, &bits, sizeof(side));
    return side;
  }

  // Rises with x.
  static REFINEDET_HD int64_t cell(double x) {
    return static_cast<int64_t>(__builtin_floor(min2(max2(x, -kMostSquares), kMostSquares)));
  }

  REFINEDET_HD int64_t slot(int64_t x, int64_t y, int level) const {
    const uint64_t mixed = static_cast<uint64_t>(x) * 0x9e3779b97f4a7c15u +
                           static_cast<uint64_t>(y) * 0xc2b2ae3d27d4eb4fu +
                           static_cast<uint64_t>(level) * 0x165667b19e3779f9u;
    return static_cast<int64_t>((mixed ^ mixed >> 29) * 0xbf58476d1ce4e5b9u >> shift_);
  }
};

}  // namespace refinedet::cpu::REFINEDET_CPU_LEVEL
