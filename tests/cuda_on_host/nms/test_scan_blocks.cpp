// The kernels that look for candidates, with several blocks for an image, and blocks in which all are some.
#include "ops/detect.h"
#include "scored_boxes.h"

using namespace refinedet;
using namespace refinedet::harness;

namespace {

constexpr SuppressionSettings kSettings{0.45, kNoLimit, 40, 30, SuppressionMethod::hard, 0.5, 0.001};

}  // namespace

CUDA_CASE(scan_scores_that_all_are_candidates) {
  Random random(5);
  const ScoredBoxes in(1, 89, 64);  // 5,696 scores: a full block and a part
  for (float& score : in.scores) {
    score = random.uniform(0.1f, 1.0f);
  }
  compare_multiclass_nms(in, 0.05, kSettings);
}

// Scores at the threshold are no candidates, in a table so wide that a block reads no others with a class.
CUDA_CASE(scan_scores_at_the_threshold) {
  constexpr int64_t kColumns = 2100, kClasses = 10;
  const ScoredBoxes in(1, 2, kClasses, kColumns);
  for (int64_t label = 0; label < kClasses; ++label) {
    in.scores[label] = label % 3 == 0 ? 0.75f : 0.5f;
    in.scores[kColumns + label] = label % 4 == 0 ? 0.75f : 0.5f;
  }
  compare_multiclass_nms(in, 0.5, kSettings);
}

CUDA_CASE(scan_anchors_that_all_survive) {
  constexpr int64_t kAnchors = 300, kClasses = 3;
  Random random(6);
  const Array<float> arm_logits(2 * kAnchors), odm_logits = random.array<float>(kAnchors * (1 + kClasses), -5, 5);
  const Array<float> arm_deltas = random.array<float>(4 * kAnchors, -1, 1);
  const Array<float> odm_deltas = random.array<float>(4 * kAnchors, -1, 1), anchors = random.boxes<float>(kAnchors);
  for (int64_t i = 0; i < kAnchors; ++i) {
    arm_logits[2 * i] = 0, arm_logits[2 * i + 1] = 1;
  }
  DetectArgs args{};
  args.dtype = DType::f32;
  args.arm_logits = arm_logits.data();
  args.arm_deltas = arm_deltas.data();
  args.odm_logits = odm_logits.data();
  args.odm_deltas = odm_deltas.data();
  args.anchor_boxes = anchors.data();
  args.batch = 1;
  args.anchors = kAnchors;
  args.classes = kClasses;
  args.theta = 0.99;
  args.variances[0] = args.variances[1] = 0.1;
  args.variances[2] = args.variances[3] = 0.2;
  args.score_threshold = 0.01;
  args.settings = kSettings;
  compare_detections<float, float>("detect", args, 1, cpu::detect, cuda::detect_workspace, cuda::detect);
}
