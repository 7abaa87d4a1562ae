// Greedy non-maximum suppression of boxes that are already sorted, a register full of candidates at a time.
#pragma once

#include "core/dtype.h"
#include "core/iou_test.h"
#include "cpu/simd/lanes.h"
#include "kept_grid.h"

namespace refinedet::cpu::REFINEDET_CPU_LEVEL {

// Boxes as columns, with `share` as IouTest has it.
template <class W>
struct BoxColumns {
  W *x1, *y1, *x2, *y2, *share;

  REFINEDET_HD Box<W> box(int64_t i) const { return {x1[i], y1[i], x2[i], y2[i]}; }

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

// Whether one of the first `count` kept boxes suppresses a box, a register full of kept ones at a time.
template <class W>
bool is_suppressed(const Box<W>& box, const BoxColumns<W>& kept, int64_t count, const IouTest<W>& test) {
  constexpr int64_t L = kLanes<W>;
  W columns[5];
  const BoxColumns<W> one{columns, columns + 1, columns + 2, columns + 3, columns + 4};
  one.set(0, box, test);
  for (int64_t k = 0; k < count; k += L) {
    const LaneBits all = (LaneBits{1} << min2(L, count - k)) - 1;
    if (survivors(all, BoxLanes<W>(kept.from(k), min2(L, count - k)), one, 0, test) != all) {
      return true;
    }
  }
  return false;
}

inline constexpr int64_t kChunk = 2048;          // boxes whose test against the kept ones is shared by the threads
inline constexpr int64_t kWorthThreads = 16384;  // tests (of a register full) that are worth waking them

// The test of boxes against the kept ones, by a grid once there are many of these, as long as that is less work.
template <class W>
class KeptTest {
 public:
  static constexpr int64_t kFrom = 2048;      // kept boxes, and boxes to test, from which on a grid pays
  static constexpr int64_t kGridChunk = 512;  // boxes per chunk, so that fewer are tested against those of their own
  static constexpr int64_t kGridWork = 64;    // what a box costs then, in tests

  // Without a grid it never uses one.
  KeptTest(const BoxColumns<W>& boxes, const IouTest<W>& test, KeptGrid<W>* grid)
      : boxes_(boxes), test_(test), grid_(grid) {}

  // The first `kept` rows of the boxes are kept now, and `left` boxes are still to be tested.
  void update(int64_t kept, int64_t left) {
    kept_ = kept;
    if (grid_ != nullptr && 2 * given_up_ > tested_) {
      grid_ = nullptr;  // a crowd where each box touches many others without overlapping them enough
    }
    if (grid_ == nullptr || (added_ == 0 && min2(kept, left) < kFrom)) {
      return;
    }
    if (added_ == 0) {
      grid_->clear();
    }
    for (; added_ < kept; ++added_) {
      const Box<W> box = boxes_.box(added_);
      const auto kind = KeptGrid<W>::kind_of(box);
      if (kind == KeptGrid<W>::Kind::extreme) {
        grid_ = nullptr;
        return;
      }
      if (kind == KeptGrid<W>::Kind::regular) {
        grid_->add(box, added_);
      }
    }
    tested_ = given_up_ = 0;
  }

  bool uses_grid() const { return grid_ != nullptr && added_ > 0; }

  // The lanes of `alive` among the boxes from `first` on that the kept ones leave.
  LaneBits operator()(int64_t first, int64_t count, LaneBits alive) {
    if (!uses_grid()) {
      return survivors_of_all(first, count, alive);
    }
    const int64_t budget = added_ / 16;
    int64_t given_up = 0;
    for (int64_t i = 0; i < count; ++i) {
      const Box<W> box = boxes_.box(first + i);
      const auto kind = KeptGrid<W>::kind_of(box);
      int64_t tests = 0;
      bool suppressed = false;
      if (kind == KeptGrid<W>::Kind::regular) {
        const W share = boxes_.share[first + i];
        suppressed = grid_->any(box, [&](int64_t k) {
          return ++tests > budget || test_.suppresses(box, share, boxes_.box(k), boxes_.share[k]);
        });
      }
      if (kind == KeptGrid<W>::Kind::extreme || tests > budget) {
        suppressed = is_suppressed(box, boxes_, added_, test_);
        ++given_up;
      }
      alive &= ~(static_cast<LaneBits>(suppressed) << i);
    }
    __atomic_fetch_add(&given_up_, given_up, __ATOMIC_RELAXED);
    __atomic_fetch_add(&tested_, count, __ATOMIC_RELAXED);
    return alive;
  }

 private:
  const BoxColumns<W> boxes_;
  const IouTest<W> test_;
  KeptGrid<W>* grid_;
  int64_t kept_ = 0, added_ = 0;       // kept boxes, and how many of them the grid has: all or none
  int64_t tested_ = 0, given_up_ = 0;  // boxes of the last chunk, and those that the grid spared little work

  LaneBits survivors_of_all(int64_t first, int64_t count, LaneBits alive) const {
    const BoxLanes<W> lanes(boxes_.from(first), count);
    for (int64_t k = 0; k < kept_ && alive != 0; ++k) {
      alive = survivors(alive, lanes, boxes_, k, test_);
    }
    return alive;
  }
};

// Keeps each of the `n` boxes, sorted from the best on, that overlaps no kept one by more than the threshold, but at
// most `limit`. Writes the rows of the kept ones, ascending, and returns their number. `boxes` is spent: its first
// rows become the kept boxes. `grid` has room for n rows, or is null.
template <class W>
int64_t greedy_nms(const BoxColumns<W>& boxes, int64_t n, const IouTest<W>& test, int64_t limit, uint32_t* rows,
                   const ParallelFor& parallel, KeptGrid<W>* grid = nullptr) {
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
  KeptTest<W> test_known(boxes, test, grid);
  for (int64_t first = 0, size; first < n && kept < limit; first += size) {
    test_known.update(kept, n - first);
    size = min2(test_known.uses_grid() ? KeptTest<W>::kGridChunk : kChunk, n - first);
    const int64_t blocks = (size + L - 1) / L, known = kept;
    const auto test_blocks = [&](int64_t begin, int64_t end) {
      for (int64_t block = begin; block < end; ++block) {
        const int64_t count = min2(L, size - block * L);
        left[block] = test_known(first + block * L, count, (LaneBits{1} << count) - 1);
      }
    };
    if (known * blocks < kWorthThreads) {
      test_blocks(0, blocks);
    } else {
      const int64_t work = test_known.uses_grid() ? KeptTest<W>::kGridWork * L : known;
      parallel(blocks, max2<int64_t>(1, kWorthThreads / 4 / work), test_blocks);
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
