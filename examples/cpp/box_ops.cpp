// The box ops on raw pointers: csrc/ops declares them, csrc/cpu has them. No torch, no Python.
//
// Three anchors are decoded as RefineDet does, then suppressed, on threads of this program's own.
#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdio>
#include <thread>
#include <vector>

#include "core/parallel.h"
#include "ops/batched_nms.h"
#include "ops/decode_boxes.h"

namespace {

// What a kernel is to share is cut into as many ranges as there are threads; a program with a pool would hand it those.
void run_on_threads(void* threads, int64_t n, int64_t grain, refinedet::ParallelFor::Body body, void* context) {
  const int64_t most = *static_cast<int64_t*>(threads);
  const int64_t step = std::max(grain, (n + most - 1) / most);
  std::vector<std::jthread> running;
  for (int64_t begin = step; begin < n; begin += step) {
    running.emplace_back(body, context, begin, std::min(begin + step, n));
  }
  body(context, 0, std::min(step, n));
}

}  // namespace

int main() {
  constexpr int64_t kCount = 3;
  const std::array<float, 4 * kCount> anchors{10, 10, 30, 30, 12, 11, 31, 30, 60, 60, 90, 80};  // (x1, y1, x2, y2)
  const std::array<float, 4 * kCount> deltas{0.5F, 0, 0, 0, 0.2F, 0, 0, 0, 0, 0, 1, -1};
  const std::array<float, kCount> scores{0.9F, 0.8F, 0.7F};
  int64_t threads = std::max(1U, std::thread::hardware_concurrency());
  const refinedet::ParallelFor parallel(run_on_threads, &threads, threads);

  std::array<float, 4 * kCount> boxes{};
  refinedet::DecodeBoxesArgs decode{};
  decode.dtype = refinedet::DType::f32;
  decode.deltas = deltas.data();
  decode.anchors = anchors.data();
  decode.count = decode.anchor_count = kCount;
  decode.variances[0] = decode.variances[1] = 0.1;
  decode.variances[2] = decode.variances[3] = 0.2;
  decode.boxes = boxes.data();
  refinedet::cpu::decode_boxes(decode, parallel);

  std::array<int64_t, kCount> keep{};
  int64_t kept = 0;
  refinedet::BatchedNmsArgs nms{};
  nms.box_dtype = nms.score_dtype = refinedet::DType::f32;
  nms.boxes = boxes.data();
  nms.scores = scores.data();
  nms.count = kCount;
  nms.iou_threshold = 0.5;
  nms.keep = keep.data();
  nms.keep_count = &kept;
  refinedet::cpu::batched_nms(nms, parallel);

  for (int64_t i = 0; i < kept; ++i) {
    const float* box = boxes.data() + 4 * keep[i];
    std::printf("%.2f %.2f %.2f %.2f %.2f\n", box[0], box[1], box[2], box[3], scores[keep[i]]);
  }
}
