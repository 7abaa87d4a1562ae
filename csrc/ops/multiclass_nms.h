#pragma once

#include "core/dtype.h"
#include "core/parallel.h"
#include "core/stream.h"
#include "suppression.h"

namespace refinedet {

// Strides count elements. Boxes of one image are contiguous, so are the scores of one anchor.
struct MulticlassNmsArgs {
  DType box_dtype, score_dtype;
  const void* boxes;   // (images, anchors, 4)
  const void* scores;  // (images, anchors, classes); anchors * score_row_stride below 2^31
  int64_t images, anchors, classes;
  int64_t box_image_stride;                      // 0 where the images share their boxes
  int64_t score_image_stride, score_row_stride;  // row stride at least `classes`
  double score_threshold;
  SuppressionSettings settings;
  void* out_boxes;      // (images, keep_top_k, 4) of box_dtype
  void* out_scores;     // (images, keep_top_k) of score_dtype
  int64_t* out_labels;  // (images, keep_top_k)
  int64_t* out_counts;  // (images,)
};

}  // namespace refinedet

namespace refinedet::cpu {

void multiclass_nms(const MulticlassNmsArgs& args, const ParallelFor& parallel);

}  // namespace refinedet::cpu

namespace refinedet::cuda {

// As the CPU kernel, with all arrays on the current device; not float64. `workspace`: so many bytes, 256-byte aligned.
int64_t multiclass_nms_workspace(const MulticlassNmsArgs& args);
void multiclass_nms(const MulticlassNmsArgs& args, void* workspace, Stream stream);

}  // namespace refinedet::cuda
