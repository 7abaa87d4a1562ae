// Non-maximum suppression of one image's scored boxes, class by class: the core that multiclass_nms and detect share.
#pragma once

#include <cstdint>

#include "core/box_io.h"
#include "cpu/runtime/buffer.h"
#include "cpu/runtime/level.h"
#include "ops/suppression.h"

namespace refinedet::cpu::REFINEDET_CPU_LEVEL {

// One image, in float or double. The candidates of each class stand in the order of their boxes; each pair of box and
// class at most once.
template <class W>
struct Candidates {
  const W* scores;        // no NaN
  const int32_t* labels;  // 0 .. classes - 1
  const int32_t* rows;    // the candidate's row of `boxes`
  int64_t count;
  const W* boxes;  // (rows, 4); only the rows that candidates name are read
};

// What is left: (images, keep_top_k) candidates, the best first, and their number per image. Behind that number the
// rows are not written.
template <class W>
struct Kept {
  W* scores;  // after the decay of the soft methods
  int32_t* labels;
  int32_t* rows;
  int64_t* counts;
};

// Per image: the best top_k_per_class of each class, of these the best top_k; suppression within each class; the best
// keep_top_k. Ties fall to the lower class, then to the lower row. Takes scratch memory linear in the candidates.
template <class W>
void suppress(const Candidates<W>* images, int64_t image_count, int64_t classes, const SuppressionSettings& settings,
              const Kept<W>& kept, const ParallelFor& parallel);

// Room for what is left of some images.
template <class W>
struct KeptMemory {
  Buffer<W> scores;
  Buffer<int32_t> labels, rows;

  KeptMemory(int64_t images, int64_t keep_top_k)
      : scores(images * keep_top_k), labels(images * keep_top_k), rows(images * keep_top_k) {}

  Kept<W> with(int64_t* counts) { return {scores.data(), labels.data(), rows.data(), counts}; }
};

// Writes the `keep_top_k` rows of each image's Detections: labels count from 1, zeros behind the kept ones. `finish`
// maps each box before it is stored.
template <class TBox, class TScore, class W, class F>
REFINEDET_HD void write_detections(const Candidates<W>* images, int64_t image_count, const Kept<W>& kept,
                                   int64_t keep_top_k, TBox* boxes, TScore* scores, int64_t* labels,
                                   const ParallelFor& parallel, const F& finish) {
  constexpr int64_t kRows = 4096;  // of a task: some microseconds
  parallel(image_count, 1 + kRows / max2<int64_t>(1, keep_top_k), [&](int64_t begin, int64_t end) {
    for (int64_t at = begin * keep_top_k; at < end * keep_top_k; ++at) {
      const int64_t image = at / keep_top_k;
      const bool filled = at - image * keep_top_k < kept.counts[image];
      const Box<W> box =
          filled ? finish(load_box(images[image].boxes + 4 * int64_t{kept.rows[at]})) : Box<W>{0, 0, 0, 0};
      store_box(boxes + 4 * at,
                Box<Accumulate<TBox>>{static_cast<Accumulate<TBox>>(box.x1), static_cast<Accumulate<TBox>>(box.y1),
                                      static_cast<Accumulate<TBox>>(box.x2), static_cast<Accumulate<TBox>>(box.y2)});
      scores[at] = store<TScore>(static_cast<Accumulate<TScore>>(filled ? kept.scores[at] : W(0)));
      labels[at] = filled ? kept.labels[at] + 1 : 0;
    }
  });
}

}  // namespace refinedet::cpu::REFINEDET_CPU_LEVEL
