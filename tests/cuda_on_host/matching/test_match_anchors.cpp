// match_anchors: every result to the bit.
#include "harness.h"
#include "ops/match_anchors.h"
#include "stopped.h"

using namespace refinedet;
using namespace refinedet::harness;

namespace {

constexpr ForceMatch kModes[] = {ForceMatch::none, ForceMatch::argmax, ForceMatch::bipartite};

// Images with so many objects each, of which every third may be ignored.
template <class G>
struct Truth {
  Array<G> boxes;
  Array<int64_t> labels, offsets;
  Array<bool> ignore;

  Truth(const std::vector<int64_t>& counts, Array<G> rows, bool crowds)
      : boxes(rows), labels(rows.size() / 4), offsets(static_cast<int64_t>(counts.size()) + 1), ignore(labels.size()) {
    offsets[0] = 0;
    for (size_t b = 0; b < counts.size(); ++b) {
      offsets[static_cast<int64_t>(b) + 1] = offsets[static_cast<int64_t>(b)] + counts[b];
    }
    for (int64_t row = 0; row < labels.size(); ++row) {
      labels[row] = 1 + row;
      ignore[row] = crowds && row % 3 == 0;
    }
  }
  int64_t count() const { return labels.size(); }
};

struct Results {
  Array<int64_t> labels, gt_index;
  Array<float> iou;

  explicit Results(int64_t size) : labels(size), gt_index(size), iou(size) {}
  void give_to(MatchAnchorsArgs& args) const {
    args.labels = labels.data();
    args.gt_index = gt_index.data();
    args.iou = iou.data();
  }
};

template <class T, class G>
MatchAnchorsArgs arguments(const T* anchors, int64_t anchor_count, bool shared, const Truth<G>& truth,
                           ForceMatch force) {
  MatchAnchorsArgs args{};
  args.anchor_dtype = kDType<T>;
  args.anchors = anchors;
  args.shared = shared;
  args.anchor_count = anchor_count;
  args.batch = truth.offsets.size() - 1;
  args.gt_dtype = kDType<G>;
  args.gt_boxes = truth.boxes.data();
  args.gt_labels = truth.labels.data();
  args.gt_offsets = truth.offsets.data();
  args.gt_ignore = truth.ignore.data();
  args.gt_count = truth.count();
  args.positive_iou = 0.5;
  args.negative_iou = 0.4;
  args.ignore_iof = 0.5;
  args.force = force;
  return args;
}

void run_on_gpu(const MatchAnchorsArgs& args) {
  const Array<char> workspace(cuda::match_anchors_workspace(args));
  cuda::match_anchors(args, workspace.data(), nullptr);
}

void compare(MatchAnchorsArgs args) {
  const int64_t size = args.batch * args.anchor_count;
  const Results expected(size), got(size);
  expected.give_to(args);
  cpu::match_anchors(args, one_thread());
  got.give_to(args);
  run_on_gpu(args);
  expect_close("match_anchors, labels", got.labels, expected.labels);
  expect_close("match_anchors, gt_index", got.gt_index, expected.gt_index);
  expect_close("match_anchors, iou", got.iou, expected.iou);
}

template <class T>
void check_random(int64_t anchor_count, bool shared, int64_t shift) {
  Random random(static_cast<uint64_t>(anchor_count));
  const std::vector<int64_t> counts{3, 0, 40, 1};
  const Array<T> boxes = random.boxes<T>(shared ? anchor_count : 4 * anchor_count);
  Array<T> anchors(boxes.size() + shift);  // so that rows are aligned for wide loads or not
  std::copy(boxes.begin(), boxes.end(), anchors.data() + shift);
  for (const ForceMatch force : kModes) {
    const Truth<T> truth(counts, random.boxes<T>(44, 0.5f), force != ForceMatch::argmax);
    compare(arguments(anchors.data() + shift, anchor_count, shared, truth, force));
  }
}

// Boxes on a coarse grid: most overlaps have equals.
Array<float> grid_boxes(Random& random, int64_t count) {
  Array<float> rows(4 * count);
  for (int64_t i = 0; i < count; ++i) {
    for (int k = 0; k < 2; ++k) {
      const float low = static_cast<float>(random.below(4));
      rows[4 * i + k] = low;
      rows[4 * i + 2 + k] = low + static_cast<float>(random.below(4));
    }
  }
  return rows;
}

// `count` boxes that are all alike but for `spread`, which makes their wishes differ.
Array<float> rivals(Random& random, int64_t count, float spread) {
  Array<float> rows(4 * count);
  for (int64_t i = 0; i < 4 * count; ++i) {
    rows[i] = (i % 4 < 2 ? 0.3f : 0.7f) + random.uniform(-spread, spread);
  }
  return rows;
}

}  // namespace

CUDA_CASE(match_anchors) {
  for_dtypes([]<class T>(Tag<T>) {
    check_random<T>(700, true, 0);
    check_random<T>(130, false, 1);
    check_random<T>(1, false, 0);
  });
  Random random(1);
  const Array<double> doubles = random.boxes<double>(90);
  compare(
      arguments(doubles.data(), 90, true, Truth<Half>({5, 40}, random.boxes<Half>(45), true), ForceMatch::bipartite));
}

CUDA_CASE(match_anchors_ties) {
  for (int seed = 0; seed < 12; ++seed) {
    Random random(static_cast<uint64_t>(seed));
    const int64_t anchor_count = 20 + 20 * seed;
    const Array<float> anchors = grid_boxes(random, anchor_count);
    for (const ForceMatch force : kModes) {
      const Truth<float> truth({40, 1, 7}, grid_boxes(random, 48), seed % 2 == 0);
      MatchAnchorsArgs args = arguments(anchors.data(), anchor_count, true, truth, force);
      args.positive_iou = seed % 3 == 0 ? 0.0 : 0.25;
      args.negative_iou = seed % 5 == 0 ? 0.0 : 0.25;
      args.ignore_iof = 1.0;
      compare(args);
    }
  }
}

// More rivals for the same anchors than one look at the anchors yields alternatives for, more than threads, and more
// than anchors.
CUDA_CASE(match_anchors_rivals) {
  for (const auto& [objects, anchor_count, spread] : {std::tuple{int64_t{300}, int64_t{2100}, 0.0f},
                                                      {int64_t{600}, int64_t{1300}, 0.05f},
                                                      {int64_t{70}, int64_t{40}, 0.1f},
                                                      {int64_t{520}, int64_t{515}, 0.0f}}) {
    Random random(static_cast<uint64_t>(objects));
    const Truth<float> truth({objects, 2}, rivals(random, objects + 2, spread), true);
    const Array<float> anchors = rivals(random, anchor_count, 0.25f);
    compare(arguments(anchors.data(), anchor_count, true, truth, ForceMatch::bipartite));
  }
  // the best anchors of all objects in one thread's share: only the best of each look is sure
  Random random(2);
  Array<float> anchors = rivals(random, 9 * 512, 0.2f);
  for (int64_t i = 0; i < 9; ++i) {
    std::copy_n(rivals(random, 1, 0.001f).data(), 4, anchors.data() + 4 * 512 * i);
  }
  const Truth<float> truth({12}, rivals(random, 12, 0.0f), false);
  compare(arguments(anchors.data(), 9 * 512, true, truth, ForceMatch::bipartite));
}

// Many objects with the same box, several such boxes among others, on anchors whose overlaps have many equals.
CUDA_CASE(match_anchors_alike) {
  for (int seed = 0; seed < 6; ++seed) {
    Random random(static_cast<uint64_t>(seed) + 100);
    const int64_t objects = 300, anchor_count = seed < 3 ? 900 : 150;
    const bool on_grid = seed % 3 != 0;
    const Array<float> anchors = on_grid ? grid_boxes(random, anchor_count) : rivals(random, anchor_count, 0.25f);
    const Array<float> boxes = on_grid ? grid_boxes(random, objects) : rivals(random, objects, 0.2f);
    for (int64_t i = 0; i < objects; ++i) {
      const int64_t draw = random.below(5);
      if (draw < 3 && (seed % 2 == 0 || i >= 60)) {  // one of three boxes, whose objects lose ties with the first ones
        std::copy_n(boxes.data() + 4 * draw, 4, boxes.data() + 4 * i);
      }
    }
    compare(arguments(anchors.data(), anchor_count, true, Truth<float>({objects - 5, 5}, boxes, seed % 2 == 0),
                      ForceMatch::bipartite));
  }
  Random random(7);  // more of them than a tile has room for when they are sorted
  const Array<float> anchors = rivals(random, 1300, 0.25f);
  compare(arguments(anchors.data(), 1300, true, Truth<float>({1100}, rivals(random, 1100, 0.0f), false),
                    ForceMatch::bipartite));
}

CUDA_CASE(match_anchors_odd_boxes) {
  const float nan = std::nanf(""), inf = __builtin_huge_valf();
  const Array<float> odd(std::vector<float>{nan,  0,   1,   1,   0,    0,    nan,    1,      nan,  nan,  nan,    nan,
                                            -inf, 0,   1,   1,   0,    0,    inf,    inf,    -inf, -inf, inf,    inf,
                                            inf,  inf, inf, inf, -inf, 0.5f, inf,    0.5f,   .5f,  .5f,  .5f,    .5f,
                                            1,    1,   0,   0,   0,    0,    1e30f,  1e30f,  0,    0,    1e-30f, 1e-30f,
                                            0,    0,   1,   1,   0,    0,    1e-22f, 1e-22f, 0.2f, 0,    1,      1});
  const int64_t count = odd.size() / 4;
  for (const ForceMatch force : kModes) {
    for (const bool crowds : {false, true}) {
      compare(arguments(odd.data(), count, true, Truth<float>({count}, odd, crowds), force));
    }
  }
}

// An overlap of a millionth forces nothing, one that is a little larger does.
CUDA_CASE(match_anchors_forces_above_a_millionth) {
  const Array<float> anchors(std::vector<float>{0, 0, 1000, 1000, 2000, 0, 3000, 1000});
  const Array<float> boxes(std::vector<float>{5, 5, 6, 6, 2005, 5, 2006, 6.01f});
  for (const ForceMatch force : {ForceMatch::argmax, ForceMatch::bipartite}) {
    compare(arguments(anchors.data(), 2, true, Truth<float>({2}, boxes, false), force));
  }
}

CUDA_CASE(match_anchors_empty) {
  Random random(3);
  const Array<float> anchors = random.boxes<float>(40);
  for (const ForceMatch force : kModes) {
    compare(arguments(anchors.data(), 0, true, Truth<float>({2, 1}, random.boxes<float>(3), false), force));
    compare(arguments(anchors.data(), 40, true, Truth<float>({}, random.boxes<float>(0), false), force));
    compare(arguments(anchors.data(), 20, false, Truth<float>({0, 0}, random.boxes<float>(0), false), force));
    MatchAnchorsArgs args =
        arguments(anchors.data(), 40, true, Truth<float>({0}, random.boxes<float>(0), false), force);
    args.batch = 0;
    compare(args);
  }
}

CUDA_CASE(match_anchors_checks_offsets) {
  Random random(4);
  const Array<float> anchors = random.boxes<float>(40);
  const std::vector<std::vector<int64_t>> all_bad{{0, 4, 3}, {-1, 1, 3}, {0, 1, 4}};
  for (const std::vector<int64_t>& bad : all_bad) {
    Truth<float> truth({1, 2}, random.boxes<float>(3), false);
    std::copy(bad.begin(), bad.end(), truth.offsets.data());
    MatchAnchorsArgs args = arguments(anchors.data(), 40, true, truth, ForceMatch::bipartite);
    const Results results(80);
    results.give_to(args);
    expect(stopped_by("gt_offsets", [&] { run_on_gpu(args); }), "offsets out of range stop the kernel");
  }
}
