// Classes of more candidates than a block has threads, which several blocks sort.
#include "scored_boxes.h"

using namespace refinedet;
using namespace refinedet::harness;

namespace {

// Scores in another order than the rows, all different.
ScoredBoxes shuffled(int64_t images, int64_t anchors) {
  const ScoredBoxes in(images, anchors, 1);
  for (int64_t i = 0; i < images * anchors; ++i) {
    in.scores[i] = static_cast<float>(1 + i * 617 % anchors);  // 617 is prime
  }
  return in;
}

}  // namespace

// The image's best 1,050 of 1,300, which are all kept, and none behind them.
CUDA_CASE(sorted_classes_end_where_the_image_does) {
  compare_multiclass_nms(shuffled(1, 1300), 0.5, settings(SuppressionMethod::hard, kNoLimit, 1050, 1300));
}

// More tiles than there are blocks to sort them.
CUDA_CASE(sorted_classes_of_many_images) {
  compare_multiclass_nms(shuffled(7, 1030), 0.5, settings(SuppressionMethod::hard, kNoLimit, kNoLimit, 9));
}
