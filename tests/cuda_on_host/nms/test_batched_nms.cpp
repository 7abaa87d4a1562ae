#include <cmath>
#include <optional>

#include "cuda/nms/batched_nms.h"
#include "harness.h"

using namespace refinedet;
using namespace refinedet::harness;

namespace {

struct Input {
  int64_t count, groups;  // groups 0: none
  double threshold;
  float side = 0.3f;      // of boxes with centers in the unit square
  int64_t scores = 1000;  // how many different ones
  double nan = 0;         // the share of boxes and scores that are NaN
  int64_t odd = 0;        // elements by which the boxes are out of line for wide loads
};

constexpr cuda::BatchedNmsPlan kSmall{64, 100};

template <class T, class S = T>
void check(const Input& in, const std::optional<cuda::BatchedNmsPlan>& chosen = std::nullopt) {
  Random random(static_cast<uint64_t>(in.count * 31 + in.groups));
  const Array<T> drawn = random.boxes<T>(in.count, in.side);
  Array<T> boxes(4 * in.count + in.odd);
  std::copy(drawn.begin(), drawn.end(), boxes.data() + in.odd);
  Array<S> scores(in.count);
  Array<int64_t> idxs(in.count);
  const T bad = store<T>(NAN);
  for (int64_t i = 0; i < in.count; ++i) {
    scores[i] = store<S>(static_cast<float>(random.below(in.scores)) / 64.0f - 1.0f);
    // numbers far apart, of both signs
    idxs[i] = in.groups > 0 ? (random.below(in.groups) - in.groups / 2) * 0x12345678abcdef : 0;
    if (random.uniform() < in.nan) {
      boxes[in.odd + 4 * i + random.below(4)] = bad;
    }
    if (random.uniform() < in.nan) {
      scores[i] = store<S>(NAN);
    }
  }
  BatchedNmsArgs args{};
  args.box_dtype = kDType<T>;
  args.score_dtype = kDType<S>;
  args.boxes = boxes.data() + in.odd;
  args.scores = scores.data();
  args.idxs = in.groups > 0 ? idxs.data() : nullptr;
  args.count = in.count;
  args.iou_threshold = in.threshold;
  Array<int64_t> expected(in.count), got(in.count), expected_count(1), got_count(1);
  args.keep = expected.data();
  args.keep_count = expected_count.data();
  cpu::batched_nms(args, one_thread());
  std::fill(expected.begin() + expected_count[0], expected.end(), -1);
  args.keep = got.data();
  args.keep_count = got_count.data();
  const cuda::BatchedNmsPlan plan = chosen.value_or(cuda::batched_nms_plan(args));
  const Array<char> workspace(cuda::batched_nms_workspace_by(plan, args));
  cuda::batched_nms_by(plan, args, workspace.data(), nullptr);
  expect_close("batched_nms, count", got_count, expected_count);
  expect_close("batched_nms, keep", got, expected);
}

}  // namespace

CUDA_CASE(batched_nms) {
  for_dtypes([]<class T>(Tag<T>) {
    check<T>({0, 0, 0.5});
    check<T>({1, 0, 0.5});
    check<T>({33, 2, 0.3});
    check<T>({600, 5, 0.4, 0.3f, 20, 0.05, 1});
  });
  check<float>({700, 0, 0.4});
  check<float>({2048, 3, 0.3, 0.05f});  // the bits of the kept ones end where the next array starts
  check<float, Half>({200, 3, 0.5});
  check<Half, float>({200, 3, 0.5});
}

CUDA_CASE(batched_nms_groups) {
  check<float>({500, 500, 0.2});            // nearly all alone
  check<float>({600, 20, 0.3, 0.8f, 7});    // a warp each, many ties
  check<float>({1300, 1, 0.5, 0.01f, 50});  // a block keeps more boxes than it has at hand
}

CUDA_CASE(batched_nms_thresholds) {
  for (const double threshold : {-0.5, 0.0, 1e-40, 1.0, 2.0}) {
    check<float>({200, 2, threshold, 0.3f, 1000, 0.1}, cuda::BatchedNmsPlan{80, 100});
  }
  check<float>({140, 0, -0.5, 0.3f, 1000, 0.1}, kSmall);
}

CUDA_CASE(batched_nms_large_groups) {
  check<float>({65, 0, 0.3}, kSmall);
  check<float>({1000, 0, 0.4, 0.05f}, kSmall);  // several pieces of kept boxes
  check<float>({1000, 7, 0.3, 0.1f, 30, 0.02}, kSmall);
  check<float>({1200, 0, 0.3, 0.1f}, cuda::BatchedNmsPlan{300, 600});  // several boxes a thread
}

CUDA_CASE(batched_nms_many) {
  check<float>({4200, 1, 0.3, 0.1f});
  check<float>({1500, 0, 0.3, 0.1f});
}

CUDA_CASE(batched_nms_workspace) {
  int64_t numbers[1];
  BatchedNmsArgs args{};
  args.idxs = numbers;
  args.count = 200'000;
  expect(cuda::batched_nms_workspace(args) < 40 << 20, "the workspace is linear in the number of boxes");
}
