// Where the kept boxes lie, for suppression that keeps so many that to test each box against all of them takes too
// long.
#pragma once

#include "core/iou.h"
#include "cpu/runtime/buffer.h"

namespace refinedet::cpu::REFINEDET_CPU_LEVEL {

// Kept boxes by size and place. Those whose longer side lies in [s/2, s), s a power of two, make a level of squares of
// side s or, for thresholds above 1/2, less, and each stands in the square that holds its center; the squares of all
// levels share one hash table.
//
// Of two boxes with an IoU above t each side is longer than t times the other's, and along each axis they share more
// than t times the longer side, so that their centers lie less than 1 - t times that apart. What is left out has an IoU
// of at most t, whatever was rounded: the bounds leave room for that, and boxes of extreme size are left to the caller.
template <class W>
class KeptGrid {
 public:
  enum class Kind { overlaps_nothing, regular, extreme };

  // Room for `most` kept boxes and a threshold that suits.
  KeptGrid(int64_t most, W threshold)
      : threshold_(threshold),
        apart_(1.001 * (1 - threshold)),
        squares_(min2(1.0, max2(1.0 / 16, 2 * apart_))),
        heads_(table_size(most)),
        next_(most),
        shift_(shift_of(heads_.size())) {}

  // Whether it has no room.
  bool empty() const { return next_.size() == 0; }

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
    const double side = side_of(level) * squares_;
    int32_t& head = heads_[slot(cell(center(box.x1, box.x2) / side), cell(center(box.y1, box.y2) / side), level)];
    next_[row] = head;
    head = static_cast<int32_t>(row);
    ++count_[level];
  }

  // Calls hit(row) for each kept box that may suppress `box`, a regular one, and for some others, until it returns
  // true; whether it did.
  template <class Hit>
  REFINEDET_HD bool any(const Box<W>& box, const Hit& hit) const {
    const double width = static_cast<double>(box.x2) - box.x1, height = static_cast<double>(box.y2) - box.y1;
    const double longer = max2(width, height), x = center(box.x1, box.x2), y = center(box.y1, box.y2);
    const int first = max2(1, level_of(kLess * threshold_ * longer));
    const int last = min2(kLevels - 1, level_of(longer / (kLess * threshold_)));
    for (int level = first; level <= last; ++level) {
      if (count_[level] == 0) {
        continue;
      }
      const double side = side_of(level), square = side * squares_;
      const double slack = 0.01 * square;  // more than what is rounded below
      const double dx = apart_ * min2(max2(width, side), width / threshold_) + slack;
      const double dy = apart_ * min2(max2(height, side), height / threshold_) + slack;
      const int64_t x_begin = cell((x - dx) / square), x_end = cell((x + dx) / square);
      const int64_t y_begin = cell((y - dy) / square), y_end = cell((y + dy) / square);
      for (int64_t iy = y_begin; iy <= y_end; ++iy) {
        for (int64_t ix = x_begin; ix <= x_end; ++ix) {
          for (int32_t row = heads_[slot(ix, iy, level)]; row >= 0; row = next_[row]) {
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

  double threshold_;
  double apart_;                  // how far centers can be apart, as a share of the longer side
  double squares_;                // the side of a level's squares as a share of the longest side
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
