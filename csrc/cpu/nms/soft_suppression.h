// One image on its way through soft suppression: the best candidates class by class, then the picked ones in order.
#pragma once

#include "best_first.h"
#include "class_groups.h"
#include "cpu/runtime/arena.h"
#include "select_best.h"
#include "soft_nms.h"
#include "suppression.h"

namespace refinedet::cpu::REFINEDET_CPU_LEVEL {

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
    for (int64_t i = 0; i < n; ++i) {
      const uint32_t index = items[i].index;
      list.set(i, load_box(from_->boxes + 4 * int64_t{from_->rows[index]}), from_->scores[index], index);
    }
    const W min_score = ceil_to<W>(settings.min_score);
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
    group_by_class(*from_, items_, count_, classes, starts_, spare_);
    Item* const grouped = spare_;
    spare_ = items_;
    items_ = grouped;
  }
};

}  // namespace refinedet::cpu::REFINEDET_CPU_LEVEL
