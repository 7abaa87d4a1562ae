// Greedy non-maximum suppression: of boxes that are already sorted, a register full of candidates at a time; and of one
// image, its best candidates in order, then class by class, then in order again.
#pragma once

#include "core/box_io.h"
#include "core/iou.h"
#include "counting_sort.h"
#include "cpu/runtime/arena.h"
#include "cpu/simd/lanes.h"
#include "kept_grid.h"
#include "keyed_sort.h"
#include "suppression.h"

namespace refinedet::cpu::REFINEDET_CPU_LEVEL {

// Boxes as columns, with the share that IouTest gives each.
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

// The lanes in `alive` that the box in row k of `kept` leaves.
template <class W>
REFINEDET_HD LaneBits survivors(LaneBits alive, const BoxLanes<W>& lanes, const BoxColumns<W>& kept, int64_t k,
                                const IouTest<W>& test) {
  using V = Lanes<W>;
  const Box<V> a{lanes.x1, lanes.y1, lanes.x2, lanes.y2};
  const Box<V> b{all_lanes(kept.x1[k]), all_lanes(kept.y1[k]), all_lanes(kept.x2[k]), all_lanes(kept.y2[k])};
  const V inter = signed_intersection(a, b);
  const LaneBits close = greater_bits(inter, lanes.share + kept.share[k]) & alive;
  if (__builtin_expect(close != 0, 0)) {
    alive &= ~(close & greater_bits(test.quotient(a, b, inter), all_lanes(test.threshold)));
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
// most `limit`. Writes the rows of the kept ones, ascending, and returns their number. `boxes` is overwritten: its
// first rows become the kept boxes. `grid` has room for n rows, or is null.
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

// ---------------------------------------------------------------- an image
template <class W>
class HardImage {
 public:
  using Key = typename ScoreKey<W>::type;
  static constexpr int64_t kCounters = kBinCounters;
  static constexpr bool kSharesLarge = true;  // a large class is worth all threads

  HardImage() = default;
  HardImage(const Candidates<W>& candidates, int64_t classes, const SuppressionSettings& settings, Arena& arena)
      : from_(&candidates), limit_(min2(candidates.count, settings.top_k)) {
    constexpr int64_t kPrefix = 4;  // candidates per detection that are tried before the others
    if (settings.keep_top_k < limit_ / kPrefix) {
      limit_ = settings.keep_top_k * kPrefix;
    }
    const int64_t n = candidates.count, most = min2(n, settings.top_k);
    keys_ = arena.take<Key>(n);
    items_ = arena.take<Item>(n + 1);
    spare_ = arena.take<Item>(n + 1);
    starts_ = arena.take<int32_t>(classes + 1);
    ranks_ = arena.take<uint32_t>(most);
    rows_ = arena.take<uint32_t>(most);
    kept_ = arena.take<uint8_t>(most);
    columns_.x1 = arena.take<W>(most), columns_.y1 = arena.take<W>(most);
    columns_.x2 = arena.take<W>(most), columns_.y2 = arena.take<W>(most);
    columns_.share = arena.take<W>(most);
  }

  int64_t class_size(int64_t c) const { return starts_[c + 1] - starts_[c]; }

  // Leaves the best top_k_per_class of each class and of these the best `limit`, in order, and finds their classes.
  void choose(int64_t classes, const SuppressionSettings& settings, uint32_t* counters) {
    const Candidates<W>& from = *from_;
    const bool per_class = settings.top_k_per_class < from.count;
    count_ = from.count == 0 ? 0 : sort_best(per_class ? from.count : limit_, classes, counters);
    if (per_class) {
      memset(starts_, 0, static_cast<size_t>(classes) * sizeof(int32_t));
      int64_t count = 0;
      for (int64_t i = 0; i < count_ && count < limit_; ++i) {
        const Item item = items_[i];
        items_[count] = item;
        count += starts_[from.labels[item.index]]++ < settings.top_k_per_class ? 1 : 0;
      }
      count_ = count;
    }
    count_ = min2(count_, limit_);
    memset(kept_, 0, static_cast<size_t>(count_));
    const auto label = [&](int64_t i) { return from.labels[items_[i].index]; };
    count_groups(count_, classes, starts_, label);
    for_each_place(count_, classes, starts_, label,
                   [&](int64_t place, int64_t i) { ranks_[place] = static_cast<uint32_t>(i); });
  }

  void suppress(int64_t c, const SuppressionSettings& settings, const IouTest<W>& test, const ParallelFor& parallel) {
    const int64_t first = starts_[c], n = class_size(c);
    const BoxColumns<W> columns = columns_.from(first);
    const uint32_t* ranks = ranks_ + first;
    for (int64_t i = 0; i < n; ++i) {
      const int64_t row = from_->rows[items_[ranks[i]].index];
      columns.set(i, load_box(from_->boxes + 4 * row), test);
    }
    uint32_t* rows = rows_ + first;
    const int64_t kept = greedy_nms(columns, n, test, settings.keep_top_k, rows, parallel);
    for (int64_t i = 0; i < kept; ++i) {
      kept_[ranks[rows[i]]] = 1;
    }
  }

  // The best keep_top_k over the classes; their number.
  int64_t write(int64_t, int64_t keep_top_k, W* scores, int32_t* labels, int32_t* rows, uint32_t*) {
    int64_t count = 0;
    for (int64_t i = 0; i < count_ && count < keep_top_k; ++i) {
      const Item item = items_[i];
      scores[count] = key_score<W>(item.key);
      labels[count] = from_->labels[item.index];
      rows[count] = from_->rows[item.index];
      count += kept_[i];
    }
    return count;
  }

  // Greedy suppression decides about the best candidates without regard to the others: `kept` of them settle the image
  // if they are enough. Otherwise lets all take part.
  bool settled(int64_t kept, const SuppressionSettings& settings) {
    const int64_t most = min2(from_->count, settings.top_k);
    const bool enough = kept >= settings.keep_top_k || count_ < limit_ || limit_ == most;
    limit_ = most;
    return enough;
  }

 private:
  using Item = Keyed<Key>;
  const Candidates<W>* from_;
  int64_t limit_;  // candidates that take part: top_k, or fewer where these may settle it
  int64_t count_;  // items, best first; equal scores: the lower class, then the lower row
  Key* keys_;
  Item *items_, *spare_;
  int32_t* starts_;  // (classes + 1,): class c has the places starts[c] up to starts[c + 1],
  uint32_t* ranks_;  // with the items ranks[place],
  BoxColumns<W> columns_;
  uint32_t* rows_;
  uint8_t* kept_;  // of which kept[item] are left

  // At least the k best candidates.
  int64_t sort_best(int64_t k, int64_t classes, uint32_t* counters) {
    const Candidates<W>& from = *from_;
    make_keys(from.scores, from.count, keys_);
    const Bins<Key> bins = make_bins(keys_, from.count, k, counters);
    if (!bins.crowded) {
      distribute(keys_, from.count, bins, counters, items_);
      insertion_sort(items_, bins.within, [&](uint32_t a, uint32_t b) {
        return from.labels[a] < from.labels[b] || (from.labels[a] == from.labels[b] && a < b);
      });
      return bins.within;
    }
    int64_t count = 0;
    for (int64_t i = 0; i < from.count; ++i) {
      items_[count] = {keys_[i], static_cast<uint32_t>(i)};
      count += bins.of(keys_[i]) <= bins.last ? 1 : 0;
    }
    const auto label = [&](int64_t i) { return from.labels[items_[i].index]; };
    count_groups(count, classes, starts_, label);
    for_each_place(count, classes, starts_, label, [&](int64_t place, int64_t i) { spare_[place] = items_[i]; });
    Item *sorted = spare_, *other = items_;
    radix_sort(sorted, other, count, 8 * sizeof(Key), counters, ParallelFor(nullptr, nullptr, 1));
    items_ = sorted;
    spare_ = other;
    return count;
  }
};

}  // namespace refinedet::cpu::REFINEDET_CPU_LEVEL
