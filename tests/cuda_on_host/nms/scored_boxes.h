// For tests of multiclass_nms that choose each box and score themselves.
#pragma once

#include "detections.h"
#include "ops/multiclass_nms.h"

namespace refinedet::harness {

struct ScoredBoxes {
  int64_t images, anchors, classes, columns;
  Array<float> boxes;   // (images, anchors, 4), each apart from all others of its image
  Array<float> scores;  // (images, anchors, columns), the classes first; all of them 0

  ScoredBoxes(int64_t images, int64_t anchors, int64_t classes) : ScoredBoxes(images, anchors, classes, classes) {}
  ScoredBoxes(int64_t images, int64_t anchors, int64_t classes, int64_t columns)
      : images(images),
        anchors(anchors),
        classes(classes),
        columns(columns),
        boxes(images * anchors * 4),
        scores(images * anchors * columns) {
    for (int64_t row = 0; row < images * anchors; ++row) {
      const auto x = static_cast<float>(2 * (row % anchors));
      put_box(row, {x, 0, x + 1, 1});
    }
    std::fill(scores.begin(), scores.end(), 0.0f);
  }
  void put_box(int64_t row, const Box<float>& box) const { memcpy(boxes.data() + 4 * row, &box, sizeof box); }
};

// Scores above `threshold` are candidates.
inline void compare_multiclass_nms(const ScoredBoxes& in, double threshold, const SuppressionSettings& settings) {
  MulticlassNmsArgs args{};
  args.box_dtype = args.score_dtype = DType::f32;
  args.boxes = in.boxes.data();
  args.scores = in.scores.data();
  args.images = in.images;
  args.anchors = in.anchors;
  args.classes = in.classes;
  args.box_image_stride = in.anchors * 4;
  args.score_image_stride = in.anchors * in.columns;
  args.score_row_stride = in.columns;
  args.score_threshold = threshold;
  args.settings = settings;
  compare_detections<float, float>("multiclass_nms", args, in.images, cpu::multiclass_nms,
                                   cuda::multiclass_nms_workspace, cuda::multiclass_nms);
}

}  // namespace refinedet::harness
