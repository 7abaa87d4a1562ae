// Greedy non-maximum suppression of boxes that are already sorted, a register full of candidates at a time.
#pragma once

#include "../geometry/dtype.h"
#include "../geometry/iou_test.h"
#include "lanes.h"

namespace refinedet::cpu::REFINEDET_CPU_LEVEL {

// Boxes as columns, with `share` as IouTest has it.
template <class W>
struct BoxColumns {
  W *x1, *y1, *x2, *y2, *share;

  REFINEDET_HD BoxColumns from(int64_t i) const { return {x1 + i, y1 + i, x2 + i, y2 + i, share + i}; }

  REFINEDET_HD void set(int64_t i, const Box<W>& b, const IouTest<W>& test) const {
    x1[i] = b.x1, y1[i] = b.y1, x2[i] = b.x2, y2[i] = b.y2, share[i] = test.share_of(b);
  }

  REFINEDET_HD void copy(int64_t from, int64_t to) const {
    x1[to] = x1[from], y1[to] = y1[from], x2[to] = x2[from], y2[to] = y2[from], share[to] = share[from];
  }
};

template <class W>
struct BoxLanes {
  Lanes<W> x1, y1, x2, y2, share;

  // `count` boxes; the lanes behind them are empty boxes.
  REFINEDET_HD BoxLanes(const BoxColumns<W>& c, int64_t count)
      : x1(some(c.x1, count)),
        y1(some(c.y1, count)),
        x2(some(c.x2, count)),
        y2(some(c.y2, count)),
        share(some(c.share, count)) {}

 private:
  REFINEDET_HD static Lanes<W> some(const W* p, int64_t count) {
    if (count >= kLanes<W>) {
      return load_lanes(p);
    }
    Lanes<W> v{};
    memcpy(&v, p, static_cast<size_t>(count) * sizeof(W));
    return v;
  }
};

template <class V>
REFINEDET_HD V area_lanes(const Box<V>& b) {
  return max2(V{}, b.x2 - b.x1) * max2(V{}, b.y2 - b.y1);
}

// The lanes in `alive` that the box in row k of `kept` leaves.
template <class W>
REFINEDET_HD LaneBits survivors(LaneBits alive, const BoxLanes<W>& lanes, const BoxColumns<W>& kept, int64_t k,
                                const IouTest<W>& test) {
  using V = Lanes<W>;
  const Box<V> a{lanes.x1, lanes.y1, lanes.x2, lanes.y2};
  const Box<V> b{all_lanes(kept.x1[k]), all_lanes(kept.y1[k]), all_lanes(kept.x2[k]), all_lanes(kept.y2[k])};
  const V w = max2(min2(a.x2, b.x2) - max2(a.x1, b.x1), V{});
  const V h = min2(a.y2, b.y2) - max2(a.y1, b.y1);  // where it is negative, so is the product, or zero
  const V inter = w * h;
  const LaneBits close = greater_bits(inter, lanes.share + kept.share[k]) & alive;
  if (__builtin_expect(close != 0, 0)) {
    const V quotient = inter / ((area_lanes(a) + area_lanes(b)) - inter);
    alive &= ~(close & greater_bits(quotient, all_lanes(test.threshold)));
  }
  return alive;
}

inline constexpr int64_t kChunk = 2048;          // boxes whose test against the kept ones is shared by the threads
inline constexpr int64_t kWorthThreads = 16384;  // tests (of a register full) that are worth waking them

// Keeps each of the `n` boxes, sorted from the best on, that overlaps no kept one by more than the threshold, but at
// most `limit`. Writes the rows of the kept ones, ascending, and returns their number. `boxes` is spent: its first
// rows become the kept boxes.
template <class W>
int64_t greedy_nms(const BoxColumns<W>& boxes, int64_t n, const IouTest<W>& test, int64_t limit, uint32_t* rows,
                   const ParallelFor& parallel) {
  constexpr int64_t L = kLanes<W>;
  if (test.everything || test.nothing) {
    const int64_t count = min2(limit, test.nothing ? n : min2<int64_t>(n, 1));
    for (int64_t i = 0; i < count; ++i) {
      rows[i] = static_cast<uint32_t>(i);
    }
    return count;
  }
  int64_t kept = 0;
  LaneBits left[kChunk / L];
  for (int64_t first = 0; first < n && kept < limit; first += kChunk) {
    const int64_t size = min2(kChunk, n - first), blocks = (size + L - 1) / L;
    const int64_t known = kept;
    const auto test_known = [&](int64_t begin, int64_t end) {
      for (int64_t block = begin; block < end; ++block) {
        const int64_t count = min2(L, size - block * L);
        LaneBits alive = (LaneBits{1} << count) - 1;
        const BoxLanes<W> lanes(boxes.from(first + block * L), count);
        for (int64_t k = 0; k < known && alive != 0; ++k) {
          alive = survivors(alive, lanes, boxes, k, test);
        }
        left[block] = alive;
      }
    };
    if (known * blocks < kWorthThreads) {
      test_known(0, blocks);
    } else {
      parallel(blocks, max2<int64_t>(1, kWorthThreads / 4 / known), test_known);
    }
    for (int64_t block = 0; block < blocks; ++block) {
      LaneBits alive = left[block];
      if (alive == 0) {
        continue;
      }
      const int64_t start = first + block * L;
      const BoxLanes<W> lanes(boxes.from(start), min2(L, size - block * L));
      for (int64_t k = known; k < kept && alive != 0; ++k) {
        alive = survivors(alive, lanes, boxes, k, test);
      }
      while (alive != 0) {
        const int lane = __builtin_ctz(alive);
        rows[kept] = static_cast<uint32_t>(start + lane);
        boxes.copy(start + lane, kept);
        if (++kept == limit) {
          return kept;
        }
        alive = survivors(alive & (alive - 1), lanes, boxes, kept - 1, test);
      }
    }
  }
  return kept;
}

}  // namespace refinedet::cpu::REFINEDET_CPU_LEVEL
