#include "ops/batched_nms.h"

#include <cmath>

#include "common.h"

namespace refinedet::torch_ops {
namespace {

// The tensors of a call, contiguous; alive as long as the kernel reads them.
struct Inputs {
  Tensor boxes, scores;
  std::optional<Tensor> idxs;
  BatchedNmsArgs args{};

  Inputs(const Tensor& boxes_in, const Tensor& scores_in, const Tensor* idxs_in, double iou_threshold)
      : boxes(as_contiguous(boxes_in)), scores(as_contiguous(scores_in)) {
    check_no_double_on_gpu(boxes, device(), "boxes");
    check_shape(boxes, "boxes", {"N", 4});
    const int64_t count = boxes.size(0);
    REFINEDET_CHECK(count <= INT32_MAX, "boxes: expected at most 2147483647 rows, got ", count);
    check_device(scores, device(), "scores");
    check_no_double_on_gpu(scores, device(), "scores");
    check_shape(scores, "scores", {count});
    args.box_dtype = dtype_of(boxes, "boxes");
    args.score_dtype = dtype_of(scores, "scores");
    args.boxes = boxes.const_data_ptr();
    args.scores = scores.const_data_ptr();
    args.count = count;
    REFINEDET_CHECK(!std::isnan(iou_threshold), "iou_threshold: expected a number, got nan");
    args.iou_threshold = iou_threshold;
    if (idxs_in != nullptr) {
      check_tensor(*idxs_in, "idxs", device(), ScalarType::Long, {count});
      idxs = as_contiguous(*idxs_in);
      args.idxs = const_data<int64_t>(*idxs);
    }
  }

  Device device() const { return device_of(boxes, "boxes"); }

  // The kept rows, then -1 on a GPU and anything on the CPU; their number goes where args.keep_count says.
  Tensor suppress() {
    const Tensor index = new_tensor({args.count}, ScalarType::Long, device());
    args.keep = data<int64_t>(index);
    run<cpu::batched_nms, cuda::batched_nms, cuda::batched_nms_workspace>(device(), args);
    return index;
  }
};

std::tuple<Tensor, Tensor> padded(Inputs in) {
  const Tensor count = new_tensor({}, ScalarType::Long, in.device());
  in.args.keep_count = data<int64_t>(count);
  const Tensor index = in.suppress();
  if (!in.device().on_gpu()) {
    std::fill(in.args.keep + *in.args.keep_count, in.args.keep + in.args.count, int64_t{-1});
  }
  return {index, count};
}

Tensor kept_of(Inputs in) {
  if (in.device().on_gpu()) {
    auto [index, count] = padded(in);
    int64_t kept = 0;
    // waits for the device
    check_status(aoti_torch_item_int64(count.get(), &kept), "could not read the number of kept boxes");
    return torch::stable::narrow(index, 0, 0, kept);
  }
  int64_t kept = 0;
  in.args.keep_count = &kept;
  const Tensor index = in.suppress();
  Tensor keep = new_tensor({kept}, ScalarType::Long);
  std::copy(in.args.keep, in.args.keep + kept, data<int64_t>(keep));
  return keep;
}

Tensor nms(const Tensor& boxes, const Tensor& scores, double iou_threshold) {
  return kept_of(Inputs(boxes, scores, nullptr, iou_threshold));
}

Tensor batched_nms(const Tensor& boxes, const Tensor& scores, const Tensor& idxs, double iou_threshold) {
  return kept_of(Inputs(boxes, scores, &idxs, iou_threshold));
}

std::tuple<Tensor, Tensor> batched_nms_padded(const Tensor& boxes, const Tensor& scores, const Tensor& idxs,
                                              double iou_threshold) {
  return padded(Inputs(boxes, scores, &idxs, iou_threshold));
}

}  // namespace

STABLE_TORCH_LIBRARY_FRAGMENT(REFINEDET_LIBRARY, m) {
  m.def("nms(Tensor boxes, Tensor scores, float iou_threshold) -> Tensor");
  m.def("batched_nms(Tensor boxes, Tensor scores, Tensor idxs, float iou_threshold) -> Tensor");
  m.def("batched_nms_padded(Tensor boxes, Tensor scores, Tensor idxs, float iou_threshold) -> (Tensor, Tensor)");
}

REFINEDET_KERNELS(m) {
  m.impl("nms", TORCH_BOX(&nms));
  m.impl("batched_nms", TORCH_BOX(&batched_nms));
  m.impl("batched_nms_padded", TORCH_BOX(&batched_nms_padded));
}

}  // namespace refinedet::torch_ops
