// What the tests of multiclass_nms and detect share.
#pragma once

#include "cpu/nms/suppression.h"
#include "harness.h"

namespace refinedet::harness {

template <class TBox, class TScore>
struct Detections {
  Array<TBox> boxes;
  Array<TScore> scores;
  Array<int64_t> labels, counts;

  Detections(int64_t images, int64_t keep_top_k)
      : boxes(images * keep_top_k * 4), scores(images * keep_top_k), labels(images * keep_top_k), counts(images) {}
};

template <class D>
void expect_same(const char* what, const D& got, const D& expected) {
  const std::string name = what;
  expect_close((name + ", counts").c_str(), got.counts, expected.counts);
  expect_close((name + ", labels").c_str(), got.labels, expected.labels);
  expect_close((name + ", scores").c_str(), got.scores, expected.scores);
  expect_close((name + ", boxes").c_str(), got.boxes, expected.boxes);
}

// Compares what the CPU's kernel and the CUDA kernels write for the inputs and settings of `args`.
template <class TBox, class TScore, class Args>
void compare_detections(const char* what, Args args, int64_t images, void (*on_cpu)(const Args&, const ParallelFor&),
                        int64_t (*workspace_of)(const Args&), void (*on_cuda)(const Args&, void*, cuda::Stream)) {
  const int64_t keep_top_k = args.settings.keep_top_k;
  const Detections<TBox, TScore> expected(images, keep_top_k), got(images, keep_top_k);
  const auto write_to = [&](const Detections<TBox, TScore>& to) {
    args.out_boxes = to.boxes.data();
    args.out_scores = to.scores.data();
    args.out_labels = to.labels.data();
    args.out_counts = to.counts.data();
  };
  write_to(expected);
  on_cpu(args, one_thread());
  write_to(got);
  const Array<char> workspace(workspace_of(args));
  on_cuda(args, workspace.data(), nullptr);
  expect_same(what, got, expected);
}

// top_k_per_class, top_k, keep_top_k
inline SuppressionSettings settings(SuppressionMethod method, int64_t per_class, int64_t top_k, int64_t keep) {
  return {0.45, per_class, top_k, keep, method, 0.5, 0.001};
}

inline constexpr SuppressionMethod kMethods[] = {SuppressionMethod::hard, SuppressionMethod::linear,
                                                 SuppressionMethod::gaussian};

// Scores from 0 to 1, low ones more often; some equal, some not a number.
template <class T>
void fill_scores(Array<T>& scores, Random& random) {
  for (T& score : scores) {
    const float x = random.uniform();
    score = store<T>(static_cast<Accumulate<T>>(random.below(40) == 0 ? NAN : std::round(x * x * x * 512) / 512));
  }
}

}  // namespace refinedet::harness
