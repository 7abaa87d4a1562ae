// Which candidates the soft methods pick, where scores rise, become no number, or are many.
#include "scored_boxes.h"

using namespace refinedet;
using namespace refinedet::harness;

namespace {

constexpr int64_t kNone = kNoLimit;

SuppressionSettings linear(int64_t keep) {
  SuppressionSettings s = settings(SuppressionMethod::linear, kNone, kNone, keep);
  s.min_score = 0;
  return s;
}

}  // namespace

// All have the box of the last one, which is picked first; then the others' scores, below zero, rise to its own. One
// pick more, and a row before it would take its place: by a warp, by a block, and by a block a part at a time.
CUDA_CASE(soft_picks_end_with_the_limit) {
  for (const int64_t anchors : {3, 100, 1100}) {
    const ScoredBoxes in(1, anchors, 1);
    for (int64_t row = 0; row < anchors; ++row) {
      in.put_box(row, {0, 0, 1, 1});
      in.scores[row] = row == anchors - 1 ? 0.0f : -1.0f;
    }
    compare_multiclass_nms(in, -2.0, linear(1));
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
  compare_multiclass_nms(in, 0.5, linear(5));
}

// More picks than a block has threads, before the last candidates take part: those meet all picks then. The best 1,024
// are picked undisturbed; the next 1,024 share a box, so that the first of them leaves the others behind the last ones.
CUDA_CASE(soft_picks_of_more_than_a_block) {
  constexpr int64_t kAnchors = 2100, kBlock = 1024;
  const ScoredBoxes in(1, kAnchors, 1);
  for (int64_t row = 0; row < kAnchors; ++row) {
    in.scores[row] = static_cast<float>(kAnchors - row);
    if (row >= kBlock && row < 2 * kBlock) {
      in.put_box(row, {-2, 0, -1, 1});
    }
  }
  compare_multiclass_nms(in, 0.5, linear(kBlock + 6));
}

// Shared memory that is full of what looks like scores, and like the begin of one more class: nothing behind the last
// candidate is picked.
CUDA_CASE(soft_picks_end_with_the_last_candidate) {
  coh::options().fill = 0x40;
  const ScoredBoxes in(1, 100, 1);
  std::fill(in.scores.begin(), in.scores.end(), 1.0f);
  compare_multiclass_nms(in, 0.5, linear(3));
}
