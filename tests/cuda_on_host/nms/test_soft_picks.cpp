// Which candidates the soft methods pick, where scores are below zero, become no number, or end.
#include "scored_boxes.h"

using namespace refinedet;
using namespace refinedet::harness;

namespace {

// Without a least score. By the gaussian method nothing is left of the score of a box that overlaps a picked one.
SuppressionSettings soft(SuppressionMethod method, int64_t keep) {
  SuppressionSettings s = settings(method, kNoLimit, kNoLimit, keep);
  s.sigma = 1e-3;
  s.min_score = 0;
  return s;
}

}  // namespace

// All boxes overlap that of the last one, which is picked first; the others' scores, below zero, do not rise to its
// own: by a warp, by a block, and by a block a part at a time.
CUDA_CASE(soft_picks_no_score_below_zero) {
  for (const int64_t anchors : {3, 100, 1100}) {
    const ScoredBoxes in(1, anchors, 1);
    for (int64_t row = 0; row < anchors; ++row) {
      in.put_box(row, {0, 0, 1, 1 + 1e-4f * static_cast<float>(row)});
      in.scores[row] = row == anchors - 1 ? 0.0f : -1.0f;
    }
    for (const SuppressionMethod method : {SuppressionMethod::linear, SuppressionMethod::gaussian}) {
      compare_multiclass_nms(in, -2.0, soft(method, 5));
    }
  }
}

// Of equal boxes with infinite scores one is picked; those of the others are infinity times zero then. There are more
// than take part at first, and the others' rows are not to be read: no number has one.
CUDA_CASE(soft_picks_without_a_number) {
  constexpr int64_t kAnchors = 2000, kCandidates = 1100;
  const ScoredBoxes in(1, kAnchors, 1);
  for (int64_t row = 0; row < kCandidates; ++row) {
    in.put_box(row, {0, 0, 1, 1});
    in.scores[row] = INFINITY;
  }
  compare_multiclass_nms(in, 0.5, soft(SuppressionMethod::linear, 5));
}

// More picks than are met together, before the last candidates take part: those meet all picks then, each once. The
// best 129 are picked undisturbed; the next share a box, so that the first of them leaves the others behind the last
// ones, one of which overlaps the third.
CUDA_CASE(soft_picks_that_are_met_later) {
  constexpr int64_t kAnchors = 1030, kBlock = 1024, kApart = 129;
  const ScoredBoxes in(1, kAnchors, 1);
  for (int64_t row = 0; row < kAnchors; ++row) {
    in.scores[row] = static_cast<float>(kAnchors - row);
    if (row >= kApart && row < kBlock) {
      in.put_box(row, {-2, 0, -1, 1});
    }
  }
  in.put_box(kBlock, {4.25f, 0, 5.25f, 1});
  compare_multiclass_nms(in, 0.5, soft(SuppressionMethod::linear, kApart + 7));
}

// Shared memory that is full of what looks like scores, and like the begin of one more class: nothing behind the last
// candidate is picked.
CUDA_CASE(soft_picks_end_with_the_last_candidate) {
  coh::options().fill = 0x40;
  const ScoredBoxes in(1, 100, 1);
  std::fill(in.scores.begin(), in.scores.end(), 1.0f);
  compare_multiclass_nms(in, 0.5, soft(SuppressionMethod::linear, 3));
}
