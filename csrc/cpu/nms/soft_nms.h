// Soft non-maximum suppression of the boxes of one class (Bodla et al. 2017): instead of being dropped, a box that
// overlaps a picked one loses score.
#pragma once

#include "core/soft_decay.h"
#include "greedy_nms.h"
#include "radix_sort.h"

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

template <class W>
REFINEDET_HD Lanes<W> iou_lanes(const Box<Lanes<W>>& a, const Lanes<W>& area_a, const Box<Lanes<W>>& b,
                                const Lanes<W>& area_b) {
  using V = Lanes<W>;
  const V w = max2(min2(a.x2, b.x2) - max2(a.x1, b.x1), V{});
  const V h = max2(min2(a.y2, b.y2) - max2(a.y1, b.y1), V{});
  const V inter = w * h;
  const V united = (area_a + area_b) - inter;
  const V ratio = inter / united;
  return (united > V{}) & (ratio == ratio) ? ratio : V{};
}

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
// they had then, and returns their number. `list` is spent.
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
      const V score = load_lanes(list.score + i) * decay(iou_lanes<W>(box, area, other, load_lanes(list.area + i)));
      store_lanes(list.score + i, score);
      best.see(i, score);
    }
    row = best.row();
  }
  return count;
}

}  // namespace refinedet::cpu::REFINEDET_CPU_LEVEL
