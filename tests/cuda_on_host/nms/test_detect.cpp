// detect.
#include "detections.h"
#include "ops/detect.h"

using namespace refinedet;
using namespace refinedet::harness;

namespace {

constexpr int64_t kNone = kNoLimit;

template <class T>
void check(int64_t batch, int64_t anchors, int64_t classes, const SuppressionSettings& s, bool clip = false,
           double threshold = 0.01) {
  Random random(static_cast<uint64_t>(batch * anchors + classes));
  const int64_t rows = batch * anchors, columns = 1 + classes;
  const Array<T> arm_logits = random.array<T>(2 * rows, -6, 6), odm_logits = random.array<T>(rows * columns, -5, 5);
  const Array<T> arm_deltas = random.array<T>(4 * rows, -1, 1), odm_deltas = random.array<T>(4 * rows, -1, 1);
  const Array<T> anchor_boxes = random.boxes<T>(anchors);
  for (int64_t i = 0; i < rows; i += 9) {
    odm_logits[i * columns + random.below(columns)] = store<T>(static_cast<Accumulate<T>>(i % 2 == 0   ? NAN
                                                                                          : i % 3 == 0 ? INFINITY
                                                                                                       : -INFINITY));
    arm_logits[2 * i] = store<T>(static_cast<Accumulate<T>>(NAN));
    for (int64_t c = 0; c < columns && i + 1 < rows; ++c) {  // equal scores
      odm_logits[(i + 1) * columns + c] = store<T>(Accumulate<T>(0));
    }
  }
  DetectArgs args{};
  args.dtype = kDType<T>;
  args.arm_logits = arm_logits.data();
  args.arm_deltas = arm_deltas.data();
  args.odm_logits = odm_logits.data();
  args.odm_deltas = odm_deltas.data();
  args.anchor_boxes = anchor_boxes.data();
  args.batch = batch;
  args.anchors = anchors;
  args.classes = classes;
  args.theta = 0.99;
  args.variances[0] = args.variances[1] = 0.1;
  args.variances[2] = args.variances[3] = 0.2;
  args.clip = clip;
  args.width = 0.9;
  args.height = 0.8;
  args.score_threshold = threshold;
  args.settings = s;
  compare_detections<float, float>("detect", args, batch, cpu::detect, cuda::detect_workspace, cuda::detect);
}

}  // namespace

CUDA_CASE(detect) {
  for (const auto method : kMethods) {
    for_dtypes([&]<class T>(Tag<T>) {
      check<T>(2, 70, 5, settings(method, kNone, 400, 200));
      check<T>(1, 150, 2, settings(method, kNone, 100, 20), true);
    });
  }
  check<float>(1, 20, 70, settings(SuppressionMethod::hard, kNone, 400, 30));
  check<float>(2, 33, 31, settings(SuppressionMethod::hard, kNone, 400, 30));
  check<float>(1, 1, 1, settings(SuppressionMethod::hard, kNone, 400, 3), true, -1.0);
}

CUDA_CASE(detect_empty) {
  for (const int64_t n : {0, 1, 2}) {
    check<float>(n == 0 ? 0 : 2, n == 1 ? 0 : 3, n == 2 ? 0 : 3, settings(SuppressionMethod::hard, kNone, 9, 5));
  }
  check<Half>(2, 3, 3, settings(SuppressionMethod::hard, kNone, 9, 0));
}

CUDA_CASE(detect_limits) {
  for (const auto method : kMethods) {
    check<float>(2, 80, 3, settings(method, 9, 30, 25));
    check<Half>(1, 120, 3, settings(method, 50, kNone, 300), true);
  }
}

CUDA_CASE(detect_more_candidates_than_listed) {
  check<float>(1, 2100, 46, settings(SuppressionMethod::hard, kNone, 40, 30), false, 0.0);
}
