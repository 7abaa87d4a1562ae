#include "ops/detect.h"

#include <cmath>

#include "common.h"
#include "suppression.h"

namespace refinedet::torch_ops {
namespace {

std::tuple<Tensor, Tensor, Tensor, Tensor> detect(const Tensor& arm_logits_in, const Tensor& arm_deltas_in,
                                                  const Tensor& odm_logits_in, const Tensor& odm_deltas_in,
                                                  const Tensor& anchors_in, double theta, std::vector<double> variances,
                                                  std::optional<std::vector<double>> clip_to, double score_threshold,
                                                  double iou_threshold, std::optional<int64_t> top_k_per_class,
                                                  std::optional<int64_t> top_k, int64_t keep_top_k, std::string method,
                                                  double sigma, double min_score) {
  const Tensor arm_logits = as_contiguous(arm_logits_in), arm_deltas = as_contiguous(arm_deltas_in);
  const Tensor odm_logits = as_contiguous(odm_logits_in), odm_deltas = as_contiguous(odm_deltas_in);
  const Tensor anchors = as_contiguous(anchors_in);
  const Device device = device_of(arm_logits, "arm_logits");
  check_no_double_on_gpu(arm_logits, device, "arm_logits");
  check_shape(arm_logits, "arm_logits", {"B", "A", 2});
  const ScalarType dtype = arm_logits.scalar_type();
  const int64_t batch = arm_logits.size(0), anchor_count = arm_logits.size(1);
  check_tensor(arm_deltas, "arm_deltas", device, dtype, {batch, anchor_count, 4});
  REFINEDET_CHECK(odm_logits.dim() == 3 && odm_logits.size(2) >= 1, "odm_logits: expected shape (B, A, 1 + C), got ",
                  shape_of(odm_logits));
  check_tensor(odm_logits, "odm_logits", device, dtype, {batch, anchor_count, odm_logits.size(2)});
  check_tensor(odm_deltas, "odm_deltas", device, dtype, {batch, anchor_count, 4});
  check_tensor(anchors, "anchors", device, dtype, {anchor_count, 4});
  REFINEDET_CHECK(theta >= 0 && theta <= 1, "theta: expected a number from 0 to 1, got ", theta);

  DetectArgs args{};
  args.dtype = dtype_of(arm_logits, "arm_logits");
  args.arm_logits = arm_logits.const_data_ptr();
  args.arm_deltas = arm_deltas.const_data_ptr();
  args.odm_logits = odm_logits.const_data_ptr();
  args.odm_deltas = odm_deltas.const_data_ptr();
  args.anchor_boxes = anchors.const_data_ptr();
  args.batch = batch;
  args.anchors = anchor_count;
  args.classes = odm_logits.size(2) - 1;
  REFINEDET_CHECK(args.anchors <= INT32_MAX / odm_logits.size(2),
                  "odm_logits: expected at most 2147483647 logits per image, got shape ", shape_of(odm_logits));
  args.theta = theta;
  take_variances(variances, args);
  take_clip_to(clip_to, args);
  REFINEDET_CHECK(!std::isnan(score_threshold), "score_threshold: expected a number, got nan");
  args.score_threshold = score_threshold;
  args.settings = suppression_settings(iou_threshold, top_k_per_class, top_k, keep_top_k, method, sigma, min_score);

  const ScalarType work = args.dtype == DType::f64 ? ScalarType::Double : ScalarType::Float;
  const auto detections = new_detections(batch, work, work, device, args);
  run<cpu::detect, cuda::detect, cuda::detect_workspace>(device, args);
  return detections;
}

}  // namespace

STABLE_TORCH_LIBRARY_FRAGMENT(REFINEDET_LIBRARY, m) {
  m.def(
      "detect(Tensor arm_logits, Tensor arm_deltas, Tensor odm_logits, Tensor odm_deltas, Tensor anchors, "
      "float theta=0.99, float[] variances=[0.1, 0.1, 0.2, 0.2], float[]? clip_to=None, float score_threshold=0.01, "
      "float iou_threshold=0.45, int? top_k_per_class=None, int? top_k=400, int keep_top_k=200, str method='hard', "
      "float sigma=0.5, float min_score=0.001) "
      "-> (Tensor boxes, Tensor scores, Tensor labels, Tensor count)");
}

REFINEDET_KERNELS(m) { m.impl("detect", TORCH_BOX(&detect)); }

}  // namespace refinedet::torch_ops
