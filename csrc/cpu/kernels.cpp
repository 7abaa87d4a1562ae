// The CPU kernels by name: each runs at the level of this machine.
#include "cpu/features/copy_matrices.h"
#include "cpu/features/deconv_tile.h"
#include "cpu/features/deform_tile.h"
#include "cpu/runtime/level.h"
#include "cpu/runtime/scratch.h"
#include "ops/batched_nms.h"
#include "ops/decode_boxes.h"
#include "ops/decode_cascade.h"
#include "ops/depthwise_conv2d.h"
#include "ops/detect.h"
#include "ops/encode_boxes.h"
#include "ops/filter_anchors.h"
#include "ops/match_anchors.h"
#include "ops/mine_hard_negatives.h"
#include "ops/mined_cross_entropy.h"
#include "ops/multiclass_nms.h"
#include "ops/smooth_l1_box_loss.h"

namespace refinedet::cpu {
namespace {

template <class Args>
void dispatch(const Args& args, const ParallelFor& parallel) {
#if REFINEDET_X86_LEVELS
  switch (level()) {
    case Level::avx512:
      return kernel<Level::avx512>(args, parallel);
    case Level::avx2:
      return kernel<Level::avx2>(args, parallel);
    default:
      break;
  }
#endif
  kernel<Level::baseline>(args, parallel);
}

template <class Args>
void at_level(const char* name, const Args& args, const ParallelFor& parallel) {
  try {
    dispatch(args, parallel);
  } catch (const OutOfMemory& error) {
    throw OutOfMemory(std::string(name) + ": " + error.what());
  }
}

}  // namespace

void batched_nms(const BatchedNmsArgs& args, const ParallelFor& parallel) { at_level(__func__, args, parallel); }
void decode_boxes(const DecodeBoxesArgs& args, const ParallelFor& parallel) { at_level(__func__, args, parallel); }
void decode_boxes_backward(const DecodeBoxesBackwardArgs& args, const ParallelFor& parallel) {
  at_level(__func__, args, parallel);
}
void decode_cascade(const DecodeCascadeArgs& args, const ParallelFor& parallel) { at_level(__func__, args, parallel); }
void decode_cascade_backward(const DecodeCascadeBackwardArgs& args, const ParallelFor& parallel) {
  at_level(__func__, args, parallel);
}
void deconv_scatter(const DeconvScatterArgs& args, const ParallelFor& parallel) { at_level(__func__, args, parallel); }
void deconv_gather(const DeconvGatherArgs& args, const ParallelFor& parallel) { at_level(__func__, args, parallel); }
void deconv_column_sum(const DeconvColumnSumArgs& args, const ParallelFor& parallel) {
  at_level(__func__, args, parallel);
}
void deform_samples(const DeformSamplesArgs& args, const ParallelFor& parallel) { at_level(__func__, args, parallel); }
void deform_columns(const DeformColumnsArgs& args, const ParallelFor& parallel) { at_level(__func__, args, parallel); }
void deform_grad_samples(const DeformGradSamplesArgs& args, const ParallelFor& parallel) {
  at_level(__func__, args, parallel);
}
void deform_grad_source(const DeformGradSourceArgs& args, const ParallelFor& parallel) {
  at_level(__func__, args, parallel);
}
void depthwise_conv2d_backward(const DepthwiseConv2dBackwardArgs& args, const ParallelFor& parallel) {
  at_level(__func__, args, parallel);
}
void detect(const DetectArgs& args, const ParallelFor& parallel) { at_level(__func__, args, parallel); }
void encode_boxes(const EncodeBoxesArgs& args, const ParallelFor& parallel) { at_level(__func__, args, parallel); }
void encode_boxes_backward(const EncodeBoxesBackwardArgs& args, const ParallelFor& parallel) {
  at_level(__func__, args, parallel);
}
void filter_anchors(const FilterAnchorsArgs& args, const ParallelFor& parallel) { at_level(__func__, args, parallel); }
void filter_anchors_mask(const FilterAnchorsMaskArgs& args, const ParallelFor& parallel) {
  at_level(__func__, args, parallel);
}
void match_anchors(const MatchAnchorsArgs& args, const ParallelFor& parallel) { at_level(__func__, args, parallel); }
void mine_hard_negatives(const MineHardNegativesArgs& args, const ParallelFor& parallel) {
  at_level(__func__, args, parallel);
}
void mined_cross_entropy(const MinedCrossEntropyArgs& args, const ParallelFor& parallel) {
  at_level(__func__, args, parallel);
}
void mined_cross_entropy_backward(const MinedCrossEntropyBackwardArgs& args, const ParallelFor& parallel) {
  at_level(__func__, args, parallel);
}
void multiclass_nms(const MulticlassNmsArgs& args, const ParallelFor& parallel) { at_level(__func__, args, parallel); }
void smooth_l1_box_loss(const SmoothL1BoxLossArgs& args, const ParallelFor& parallel) {
  at_level(__func__, args, parallel);
}
void smooth_l1_box_loss_backward(const SmoothL1BoxLossBackwardArgs& args, const ParallelFor& parallel) {
  at_level(__func__, args, parallel);
}
void copy_matrices(const CopyMatricesArgs& args, const ParallelFor& parallel) { at_level(__func__, args, parallel); }

}  // namespace refinedet::cpu
