// Soft non-maximum suppression (Bodla et al. 2017): instead of being dropped, a box that overlaps a picked one loses
// score. Of the boxes of one class; and of one image, its best candidates class by class, then the picked ones in
// order.
#pragma once

#include "core/box_io.h"
#include "core/iou.h"
#include "core/soft_decay.h"
#include "core/threshold.h"
#include "counting_sort.h"
#include "cpu/runtime/arena.h"
#include "cpu/simd/lanes.h"
#include "keyed_sort.h"
#include "suppression.h"

namespace refinedet::cpu::REFINEDET_CPU_LEVEL {

// GaussianDecay for a register full of overlaps.
template <class W>
struct GaussianLanes {
  GaussianDecay<W> decay;

  REFINEDET_HD Lanes<W> operator()(const Lanes<W>& iou) const {
    alignas(kLaneBytes) W values[kLanes<W>];
    store_lanes(values, decay.exponent(iou));
    for (int i = 0; i < kLanes<W>; ++i) {
      values[i] = GaussianDecay<W>::exp(values[i]);
    }
    return load_lanes(values);
  }
};

// Boxes as columns with their areas and present scores, in the order in which ties fall, and the items they stand for.
// Columns have room for a register full of rows more.
template <class W>
struct SoftList {
  W *x1, *y1, *x2, *y2, *area, *score;
  uint32_t* item;

  REFINEDET_HD void set(int64_t i, const Box<W>& b, W s, uint32_t which) const {
    x1[i] = b.x1, y1[i] = b.y1, x2[i] = b.x2, y2[i] = b.y2, area[i] = refinedet::area(b), score[i] = s;
    item[i] = which;
  }

  REFINEDET_HD void copy(int64_t from, int64_t to) const {
    x1[to] = x1[from], y1[to] = y1[from], x2[to] = x2[from], y2[to] = y2[from], area[to] = area[from];
    score[to] = score[from], item[to] = item[from];
  }

  // Rows without a score that could be picked, up to the end of the last register.
  REFINEDET_HD void pad(int64_t n) const {
    for (int64_t i = n; i % kLanes<W> != 0; ++i) {
      set(i, Box<W>{0, 0, 0, 0}, kNever, 0);
    }
  }

  static constexpr W kNever = -static_cast<W>(__builtin_huge_val());
};

// The row with the best score, the lowest among equals; 0 where none has a score.
template <class W>
class BestRow {
 public:
  REFINEDET_HD void see(int64_t first, const Lanes<W>& scores) {
    const auto better = scores > best_;
    best_ = better ? scores : best_;
    first_ = better ? Index{} + static_cast<Row>(first) : first_;
  }

  REFINEDET_HD int64_t row() const {
    W best = SoftList<W>::kNever;
    int64_t row = 0;
    for (int i = 0; i < kLanes<W>; ++i) {
      const int64_t here = static_cast<int64_t>(first_[i]) + i;
      if (best_[i] > best || (best_[i] == best && here < row)) {
        best = best_[i];
        row = here;
      }
    }
    return row;
  }

 private:
  using Row = std::conditional_t<sizeof(W) == 8, int64_t, int32_t>;
  typedef Row Index __attribute__((vector_size(kLaneBytes)));
  Lanes<W> best_ = all_lanes(SoftList<W>::kNever);
  Index first_ = {};
};

// Picks the best row again and again until none is left with at least `min_score` or `limit` are picked; after each
// pick the others' scores are multiplied with decay(IoU). Writes the picked items in that order, keyed by the scores
// they had then, and returns their number. `list` is overwritten.
template <class W, class Decay>
int64_t soft_nms(const SoftList<W>& list, int64_t n, const Decay& decay, W min_score, int64_t limit,
                 Keyed<typename ScoreKey<W>::type>* picked) {
  using V = Lanes<W>;
  constexpr int64_t L = kLanes<W>;
  list.pad(n);
  BestRow<W> first;
  for (int64_t i = 0; i < n; i += L) {
    first.see(i, load_lanes(list.score + i));
  }
  int64_t row = first.row(), count = 0, stale = 0;
  while (count < limit && n > 0 && list.score[row] >= min_score) {
    picked[count++] = {score_key(list.score[row]), list.item[row]};
    list.score[row] = SoftList<W>::kNever;
    const Box<V> box{all_lanes(list.x1[row]), all_lanes(list.y1[row]), all_lanes(list.x2[row]),
                     all_lanes(list.y2[row])};
    const V area = all_lanes(list.area[row]);
    if (++stale * 8 > n) {  // the picked and the hopeless leave the list
      stale = 0;
      int64_t left = 0;
      for (int64_t i = 0; i < n; ++i) {
        if (list.score[i] >= min_score) {
          list.copy(i, left++);
        }
      }
      n = left;
      list.pad(n);
    }
    BestRow<W> best;
    for (int64_t i = 0; i < n; i += L) {
      const Box<V> other{load_lanes(list.x1 + i), load_lanes(list.y1 + i), load_lanes(list.x2 + i),
                         load_lanes(list.y2 + i)};
      const V score = load_lanes(list.score + i) * decay(iou<V>(box, area, other, load_lanes(list.area + i)));
      store_lanes(list.score + i, score);
      best.see(i, score);
    }
    row = best.row();
  }
  return count;
}

// ---------------------------------------------------------------- an image
template <class W>
class SoftImage {
 public:
  using Key = typename ScoreKey<W>::type;
  static constexpr int64_t kCounters = 2048;   // enough for radix_sort by one thread and select_best
  static constexpr bool kSharesLarge = false;  // each pick waits for the one before
  static_assert(kCounters >= kSelectCounters);

  SoftImage() = default;
  SoftImage(const Candidates<W>& candidates, int64_t classes, const SuppressionSettings& settings, Arena& arena)
      : from_(&candidates) {
    items_ = arena.take<Item>(candidates.count);
    spare_ = arena.take<Item>(candidates.count);
    starts_ = arena.take<int32_t>(classes + 1);
    kept_ = arena.take<int32_t>(classes);
    const int64_t rows = min2(candidates.count, settings.top_k) + classes * kGap;
    list_.x1 = arena.take<W>(rows), list_.y1 = arena.take<W>(rows);
    list_.x2 = arena.take<W>(rows), list_.y2 = arena.take<W>(rows);
    list_.area = arena.take<W>(rows), list_.score = arena.take<W>(rows);
    list_.item = arena.take<uint32_t>(rows);
  }

  int64_t class_size(int64_t c) const { return starts_[c + 1] - starts_[c]; }

  // Leaves the best top_k_per_class of each class and of these the best top_k, class by class, in the order of their
  // rows.
  void choose(int64_t classes, const SuppressionSettings& settings, uint32_t* counters) {
    count_ = from_->count;
    const int64_t limit = min2(count_, settings.top_k);
    for (int64_t i = 0; i < count_; ++i) {
      items_[i] = {score_key(from_->scores[i]), static_cast<uint32_t>(i)};
    }
    const bool per_class = settings.top_k_per_class < count_;
    if (per_class) {
      group(classes);
      int64_t count = 0;
      for (int64_t c = 0; c < classes; ++c) {
        Item* const first = items_ + starts_[c];
        const int64_t size = select_best(first, class_size(c), settings.top_k_per_class, false, spare_, counters);
        memmove(items_ + count, first, static_cast<size_t>(size) * sizeof(Item));
        count += size;
      }
      count_ = count;
    }
    // ties fall to the lower class: decided once the items stand in that order
    count_ = select_best(items_, count_, limit, !per_class, spare_, counters);
    group(classes);
    if (count_ > limit) {
      count_ = select_best(items_, count_, limit, false, spare_, counters);
      group(classes);
    }
  }

  void suppress(int64_t c, const SuppressionSettings& settings, const IouTest<W>& test, const ParallelFor&) {
    const int64_t first = starts_[c], n = class_size(c), at = first + c * kGap;
    const SoftList<W> list{list_.x1 + at,   list_.y1 + at,    list_.x2 + at,  list_.y2 + at,
                           list_.area + at, list_.score + at, list_.item + at};
    Item* const items = items_ + first;
    const W min_score = ceil_to<W>(settings.min_score);
    for (int64_t i = 0; i < n; ++i) {
      const uint32_t index = items[i].index;
      // one below zero must not rise to it
      const W score = from_->scores[index] >= min_score ? from_->scores[index] : SoftList<W>::kNever;
      list.set(i, load_box(from_->boxes + 4 * int64_t{from_->rows[index]}), score, index);
    }
    if (settings.method == SuppressionMethod::linear) {
      const LinearDecay<W> decay{test.threshold};
      kept_[c] = static_cast<int32_t>(soft_nms(list, n, decay, min_score, settings.keep_top_k, items));
    } else {
      const GaussianLanes<W> decay{GaussianDecay<W>(settings.sigma)};
      kept_[c] = static_cast<int32_t>(soft_nms(list, n, decay, min_score, settings.keep_top_k, items));
    }
  }

  // The best keep_top_k over the classes; their number.
  int64_t write(int64_t classes, int64_t keep_top_k, W* scores, int32_t* labels, int32_t* rows, uint32_t* counters) {
    int64_t count = 0;
    for (int64_t c = 0; c < classes; ++c) {
      memmove(items_ + count, items_ + starts_[c], static_cast<size_t>(kept_[c]) * sizeof(Item));
      count += kept_[c];
    }
    count = select_best(items_, count, keep_top_k, false, spare_, counters);
    if (count <= kInsertion) {
      insertion_sort(items_, count, [](uint32_t, uint32_t) { return false; });
    } else {
      radix_sort(items_, spare_, count, 8 * sizeof(Key), counters, ParallelFor(nullptr, nullptr, 1));
    }
    for (int64_t i = 0; i < count; ++i) {
      const Item item = items_[i];
      scores[i] = key_score<W>(item.key);
      labels[i] = from_->labels[item.index];
      rows[i] = from_->rows[item.index];
    }
    return count;
  }

  bool settled(int64_t, const SuppressionSettings&) const { return true; }

 private:
  using Item = Keyed<Key>;
  static constexpr int64_t kGap = kLanes<W>;  // rows between the classes in the list
  static constexpr int64_t kInsertion = 24;   // items that are sorted by insertion

  const Candidates<W>* from_;
  int64_t count_;  // items: the keys of scores, the indices of candidates
  Item *items_, *spare_;
  int32_t* starts_;   // (classes + 1,): class c has items[starts[c]] up to items[starts[c + 1]],
  int32_t* kept_;     // (classes,): and of these the first kept[c] are left
  SoftList<W> list_;  // the items' boxes

  void group(int64_t classes) {
    const auto label = [&](int64_t i) { return from_->labels[items_[i].index]; };
    count_groups(count_, classes, starts_, label);
    for_each_place(count_, classes, starts_, label, [&](int64_t place, int64_t i) { spare_[place] = items_[i]; });
    Item* const grouped = spare_;
    spare_ = items_;
    items_ = grouped;
  }
};

}  // namespace refinedet::cpu::REFINEDET_CPU_LEVEL
