// Bipartite matches of many objects that want the same anchors: in neighbouring images, and for longer than one look at
// the anchors lasts.
#include "harness.h"
#include "ops/match_anchors.h"

using namespace refinedet;
using namespace refinedet::harness;

namespace {

// Boxes around (0.3, 0.3, 0.7, 0.7).
Array<float> rivals(Random& random, int64_t count, float spread) {
  Array<float> rows(4 * count);
  for (int64_t i = 0; i < 4 * count; ++i) {
    rows[i] = (i % 4 < 2 ? 0.3f : 0.7f) + random.uniform(-spread, spread);
  }
  return rows;
}

// Squares of side 1 with their left edges at left_at(i), in 256ths.
template <class F>
Array<float> squares(int64_t count, const F& left_at) {
  Array<float> rows(4 * count);
  for (int64_t i = 0; i < count; ++i) {
    const float left = static_cast<float>(left_at(i)) / 256.0f;
    rows[4 * i] = left, rows[4 * i + 1] = 0.0f, rows[4 * i + 2] = left + 1.0f, rows[4 * i + 3] = 1.0f;
  }
  return rows;
}

// `images` of `objects` each. The workspace is full of `fill`.
void compare(int64_t images, int64_t objects, const Array<float>& boxes, const Array<float>& anchors, char fill) {
  const int64_t anchor_count = anchors.size() / 4, size = images * anchor_count;
  Array<int64_t> labels(images * objects), offsets(images + 1);
  for (int64_t row = 0; row < labels.size(); ++row) {
    labels[row] = 1 + row;
  }
  for (int64_t image = 0; image <= images; ++image) {
    offsets[image] = image * objects;
  }
  MatchAnchorsArgs args{};
  args.anchor_dtype = args.gt_dtype = DType::f32;
  args.anchors = anchors.data();
  args.shared = true;
  args.anchor_count = anchor_count;
  args.batch = images;
  args.gt_boxes = boxes.data();
  args.gt_labels = labels.data();
  args.gt_offsets = offsets.data();
  args.gt_count = images * objects;
  args.positive_iou = args.negative_iou = args.ignore_iof = 0.5;
  args.force = ForceMatch::bipartite;
  const Array<int64_t> expected_labels(size), got_labels(size), expected_index(size), got_index(size);
  const Array<float> expected_iou(size), got_iou(size);
  args.labels = expected_labels.data(), args.gt_index = expected_index.data(), args.iou = expected_iou.data();
  cpu::match_anchors(args, one_thread());
  args.labels = got_labels.data(), args.gt_index = got_index.data(), args.iou = got_iou.data();
  const Array<char> workspace(cuda::match_anchors_workspace(args));
  std::fill(workspace.begin(), workspace.end(), fill);
  cuda::match_anchors(args, workspace.data(), nullptr);
  expect_close("match_anchors, labels", got_labels, expected_labels);
  expect_close("match_anchors, gt_index", got_index, expected_index);
  expect_close("match_anchors, iou", got_iou, expected_iou);
}

}  // namespace

// All objects of an image have one box, so that they fill its share of every list, and the next image's follows. What
// the workspace holds at first, does not matter.
CUDA_CASE(match_equal_boxes_in_two_images) {
  Random random(11);
  const Array<float> boxes = rivals(random, 2 * 96, 0.0f), anchors = rivals(random, 130, 0.25f);
  for (const char fill : {'\xfb', '\0'}) {
    compare(2, 96, boxes, anchors, fill);
  }
}

// Each object has a box of its own and wants all anchors in much the same order: the last ones have to go on behind the
// 128 that a look at the anchors yields.
CUDA_CASE(match_more_rivals_than_a_reserve_has_anchors) {
  Random random(12);
  const Array<float> boxes = rivals(random, 200, 0.01f), anchors = rivals(random, 300, 0.2f);
  compare(1, 200, boxes, anchors, '\xfb');
}

// Forty objects have one box, and one more holds an anchor that overlaps theirs as much. If they come before it, they
// take that anchor, and the last of those that they had chosen is left over; if it comes first, it keeps the anchor,
// and they need that last one. All overlaps are exact.
CUDA_CASE(match_equal_boxes_and_an_equal_overlap) {
  const Array<float> anchors = squares(51, [](int64_t i) { return i - 40; });
  for (const int64_t other : {40, 0}) {
    const Array<float> boxes = squares(41, [&](int64_t i) { return i == other ? 20 : 0; });
    for (const char fill : {'\xfb', '\0'}) {
      compare(1, 41, boxes, anchors, fill);
    }
  }
}

// Every other one of the best anchors of a dozen objects falls to one thread of the search's 512, the better ones
// first. It keeps two of them, so that the list of the best anchors may not go on below its third.
CUDA_CASE(match_rivals_whose_best_anchors_meet_in_a_thread) {
  const Array<float> boxes = squares(12, [](int64_t) { return 0; });
  const Array<float> anchors = squares(8 * 512, [](int64_t i) -> int64_t {
    if (i % 512 == 0) {
      return i < 6 * 512 ? i / 256 : 30 + i / 512;
    }
    return i < 7 ? 2 * i - 1 : 1000;
  });
  compare(1, 12, boxes, anchors, '\xfb');
}
