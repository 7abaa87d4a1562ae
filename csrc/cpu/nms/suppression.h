// Non-maximum suppression of one image's scored boxes, class by class: the core that multiclass_nms and detect share.
#pragma once

#include <cstdint>

#include "cpu/boxes/anchor_runs.h"
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

// What is done with each image before and after its suppression, by the thread that has it.
struct ImageSteps {
  void* context;
  void (*prepare)(void* context, int64_t image);  // makes its candidates, whose number is known
  void (*finish)(void* context, int64_t image);   // may be called twice; the last call counts
};

// ImageSteps of two functions; they must not throw.
template <class Prepare, class Finish>
class Steps {
 public:
  Steps(const Prepare& prepare, const Finish& finish) : prepare_(prepare), finish_(finish) {}

  ImageSteps get() {
    return {this, [](void* self, int64_t image) { static_cast<Steps*>(self)->prepare_(image); },
            [](void* self, int64_t image) { static_cast<Steps*>(self)->finish_(image); }};
  }

 private:
  Prepare prepare_;
  Finish finish_;
};

// Per image: the best top_k_per_class of each class, of these the best top_k; suppression within each class; the best
// keep_top_k. Ties fall to the lower class, then to the lower row. Takes scratch memory linear in the candidates.
template <class W>
void suppress(const Candidates<W>* images, int64_t image_count, int64_t classes, const SuppressionSettings& settings,
              const Kept<W>& kept, const ImageSteps& steps, const ParallelFor& parallel);

// Writes one image's `keep_top_k` rows of Detections: labels count from 1, zeros behind the kept ones. `finish` maps
// each box before it is stored.
template <class TBox, class TScore, class W, class F>
REFINEDET_HD void write_detections(const Candidates<W>& image, const Kept<W>& kept, int64_t index, int64_t keep_top_k,
                                   TBox* boxes, TScore* scores, int64_t* labels, const F& finish) {
  const int64_t first = index * keep_top_k, count = kept.counts[index];
  for (int64_t k = 0; k < keep_top_k; ++k) {
    const int64_t at = first + k;
    const bool filled = k < count;
    const Box<W> box = filled ? finish(load_box(image.boxes + 4 * int64_t{kept.rows[at]})) : Box<W>{0, 0, 0, 0};
    store_box(boxes + 4 * at, Box<Work<TBox>>{static_cast<Work<TBox>>(box.x1), static_cast<Work<TBox>>(box.y1),
                                              static_cast<Work<TBox>>(box.x2), static_cast<Work<TBox>>(box.y2)});
    scores[at] = store<TScore>(static_cast<Work<TScore>>(filled ? kept.scores[at] : W(0)));
    labels[at] = filled ? kept.labels[at] + 1 : 0;
  }
}

}  // namespace refinedet::cpu::REFINEDET_CPU_LEVEL
