// multiclass_nms.
#include "detections.h"
#include "ops/multiclass_nms.h"

using namespace refinedet;
using namespace refinedet::harness;

namespace {

constexpr int64_t kNone = kNoLimit;

// `gap` columns stand before the classes in the table of scores, which are from `low` to 1.
template <class TBox, class TScore = TBox>
void check(int64_t images, int64_t anchors, int64_t classes, const SuppressionSettings& s, int64_t gap = 0,
           double threshold = 0.01, float side = 0.3f, float low = 0) {
  Random random(static_cast<uint64_t>(images * anchors + classes));
  const Array<TBox> boxes = random.boxes<TBox>(images * anchors, side);
  const int64_t columns = classes + gap;
  Array<TScore> scores(images * anchors * columns);
  fill_scores(scores, random);
  for (TScore& score : scores) {
    score = store<TScore>(low + (1 - low) * static_cast<float>(load(score)));
  }
  MulticlassNmsArgs args{};
  args.box_dtype = kDType<TBox>;
  args.score_dtype = kDType<TScore>;
  args.boxes = boxes.data();
  args.scores = scores.data() + gap;
  args.images = images;
  args.anchors = anchors;
  args.classes = classes;
  args.box_image_stride = anchors * 4;
  args.score_image_stride = anchors * columns;
  args.score_row_stride = columns;
  args.score_threshold = threshold;
  args.settings = s;
  compare_detections<TBox, TScore>("multiclass_nms", args, images, cpu::multiclass_nms, cuda::multiclass_nms_workspace,
                                   cuda::multiclass_nms);
}

}  // namespace

CUDA_CASE(multiclass_nms) {
  for (const auto method : kMethods) {
    for_dtypes([&]<class T>(Tag<T>) {
      check<T>(2, 70, 3, settings(method, kNone, 400, 200));
      check<T>(1, 130, 5, settings(method, kNone, 100, 20), 1);
    });
    check<float>(3, 9, 1, settings(method, kNone, 1, 1));
    check<float>(1, 1, 40, settings(method, kNone, 30, 50));
  }
  check<Half, float>(2, 40, 7, settings(SuppressionMethod::hard, kNone, 400, 30), 2);
  check<float, BFloat16>(2, 40, 7, settings(SuppressionMethod::hard, kNone, 400, 30), 3);
  check<float>(2, 5, 3, settings(SuppressionMethod::hard, kNone, 400, 30), 0, -1.0);
  check<float>(2, 5, 3, settings(SuppressionMethod::hard, kNone, 400, 30), 0, 5.0);
}

CUDA_CASE(multiclass_nms_empty) {
  for (const int64_t n : {0, 1, 2}) {
    check<float>(n == 0 ? 0 : 2, n == 1 ? 0 : 3, n == 2 ? 0 : 3, settings(SuppressionMethod::hard, kNone, 9, 5));
  }
  check<Half>(2, 3, 3, settings(SuppressionMethod::hard, kNone, 9, 0));
}

CUDA_CASE(multiclass_nms_many_of_a_class) {
  for (const auto method : kMethods) {
    check<float>(1, 300, 1, settings(method, kNone, 256, 200));
  }
}

CUDA_CASE(multiclass_nms_limits) {
  for (const auto method : kMethods) {
    check<float>(2, 60, 3, settings(method, 7, 30, 25));
    check<float>(2, 60, 3, settings(method, 1, kNone, 300));
    check<BFloat16>(1, 90, 4, settings(method, 30, 80, 1));
  }
}

CUDA_CASE(multiclass_nms_groups_above_a_block) {
  for (const auto method : kMethods) {
    check<float>(1, 1300, 1, settings(method, kNone, kNone, 12));
  }
  check<float>(1, 1300, 1, settings(SuppressionMethod::hard, kNone, 1200, 1100));
}

// Several of them, more than a tile or a launch has room for, and so many detections that one launch does not settle
// them.
CUDA_CASE(multiclass_nms_large_groups) {
  check<float>(1, 2300, 1, settings(SuppressionMethod::hard, kNone, kNone, 2000), 0, -1.0);
  check<Half>(2, 1200, 2, settings(SuppressionMethod::hard, 1100, kNone, 1500), 1, 0.0);
}

// Boxes that overlap so much that candidates come up that were not among the first 1,024.
CUDA_CASE(multiclass_nms_soft_large_groups) {
  check<float>(1, 1300, 2, settings(SuppressionMethod::linear, kNone, 2500, 60), 0, 0.0, 20.0f, 0.9f);
  check<Half>(2, 1200, 1, settings(SuppressionMethod::gaussian, kNone, kNone, 60), 0, -1.0, 20.0f, 0.9f);
}

CUDA_CASE(multiclass_nms_more_candidates_than_listed) {
  check<float>(1, 1150, 61, settings(SuppressionMethod::hard, kNone, 40, 30), 0, -1.0);
}
