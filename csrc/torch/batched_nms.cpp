#include "../cpu/batched_nms.h"

#include <cstring>

#include "common.h"

namespace refinedet::torch_ops {
namespace {

Tensor run(const Tensor& boxes_in, const Tensor& scores_in, const Tensor* idxs_in, double iou_threshold) {
  check_cpu(boxes_in, "boxes");
  check_cpu(scores_in, "scores");
  REFINEDET_CHECK(boxes_in.dim() == 2 && boxes_in.size(1) == 4, "boxes: expected shape (N, 4), got ",
                  shape_of(boxes_in));
  const int64_t count = boxes_in.size(0);
  REFINEDET_CHECK(count <= INT32_MAX, "boxes: expected at most 2147483647 rows, got ", count);
  REFINEDET_CHECK(scores_in.dim() == 1 && scores_in.size(0) == count, "scores: expected shape (", count, ",), got ",
                  shape_of(scores_in));
  const Tensor boxes = torch::stable::contiguous(boxes_in), scores = torch::stable::contiguous(scores_in);
  cpu::BatchedNmsArgs args{};
  args.box_dtype = dtype_of(boxes, "boxes");
  args.score_dtype = dtype_of(scores, "scores");
  args.boxes = boxes.const_data_ptr();
  args.scores = scores.const_data_ptr();
  args.count = count;
  args.iou_threshold = iou_threshold;
  std::optional<Tensor> idxs;
  if (idxs_in != nullptr) {
    check_cpu(*idxs_in, "idxs");
    check_dtype(*idxs_in, ScalarType::Long, "idxs");
    REFINEDET_CHECK(idxs_in->dim() == 1 && idxs_in->size(0) == count, "idxs: expected shape (", count, ",), got ",
                    shape_of(*idxs_in));
    idxs = torch::stable::contiguous(*idxs_in);
    args.idxs = const_data<int64_t>(*idxs);
  }
  const Tensor room = new_tensor({count}, ScalarType::Long);
  int64_t kept = 0;
  args.keep = data<int64_t>(room);
  args.keep_count = &kept;
  cpu::batched_nms(args, torch_threads());
  Tensor keep = new_tensor({kept}, ScalarType::Long);
  if (kept > 0) {
    std::memcpy(data<int64_t>(keep), args.keep, static_cast<size_t>(kept) * sizeof(int64_t));
  }
  return keep;
}

Tensor nms(const Tensor& boxes, const Tensor& scores, double iou_threshold) {
  return run(boxes, scores, nullptr, iou_threshold);
}

Tensor batched_nms(const Tensor& boxes, const Tensor& scores, const Tensor& idxs, double iou_threshold) {
  return run(boxes, scores, &idxs, iou_threshold);
}

}  // namespace

STABLE_TORCH_LIBRARY_FRAGMENT(REFINEDET_LIBRARY, m) {
  m.def("nms(Tensor boxes, Tensor scores, float iou_threshold) -> Tensor");
  m.def("batched_nms(Tensor boxes, Tensor scores, Tensor idxs, float iou_threshold) -> Tensor");
}

STABLE_TORCH_LIBRARY_IMPL(REFINEDET_LIBRARY, CPU, m) {
  m.impl("nms", TORCH_BOX(&nms));
  m.impl("batched_nms", TORCH_BOX(&batched_nms));
}

}  // namespace refinedet::torch_ops
