// One image on its way through hard suppression: the best candidates in order, then class by class, then in order
// again.
#pragma once

#include "best_first.h"
#include "class_groups.h"
#include "cpu/runtime/arena.h"
#include "greedy_nms.h"
#include "suppression.h"

namespace refinedet::cpu::REFINEDET_CPU_LEVEL {

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
    count_classes(count_, classes, starts_, label);
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
    group_by_class(from, items_, count, classes, starts_, spare_);
    Item *sorted = spare_, *other = items_;
    radix_sort(sorted, other, count, 8 * sizeof(Key), counters, ParallelFor(nullptr, nullptr, 1));
    items_ = sorted;
    spare_ = other;
    return count;
  }
};

}  // namespace refinedet::cpu::REFINEDET_CPU_LEVEL
