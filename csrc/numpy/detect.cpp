#include "ops/detect.h"

#include "common.h"
#include "ops/suppression_checks.h"

namespace refinedet::numpy {
namespace {

void check_table(const py::array& a, DType dtype, const py::array& model, const char* name) {
  if (dtype_of(a, name) != dtype) {
    throw py::type_error(std::string(name) + ": expected the dtype of arm_logits");
  }
  if (a.ndim() != 3 || a.shape(0) != model.shape(0) || a.shape(1) != model.shape(1)) {
    throw py::value_error(std::string(name) + ": expected as many images and anchors as arm_logits has");
  }
}

// The Python side has checked the settings; `method` counts the methods of SuppressionMethod.
py::tuple detect(const py::array& arm_logits, const py::array& arm_deltas, const py::array& odm_logits,
                 const py::array& odm_deltas, const py::array& anchors, double theta,
                 const std::array<double, 4>& variances, const std::optional<std::array<double, 2>>& clip_to,
                 double score_threshold, double iou_threshold, std::optional<int64_t> top_k_per_class,
                 std::optional<int64_t> top_k, int64_t keep_top_k, int method, double sigma, double min_score) {
  check_array(arm_logits, "arm_logits", 2);
  check_array(arm_deltas, "arm_deltas", 4);
  check_array(odm_logits, "odm_logits");
  check_array(odm_deltas, "odm_deltas", 4);
  check_array(anchors, "anchors", 4);
  if (arm_logits.ndim() != 3) {
    throw py::value_error("arm_logits: expected shape (B, A, 2)");
  }
  DetectArgs args{};
  args.dtype = dtype_of(arm_logits, "arm_logits");
  check_table(arm_deltas, args.dtype, arm_logits, "arm_deltas");
  check_table(odm_logits, args.dtype, arm_logits, "odm_logits");
  check_table(odm_deltas, args.dtype, arm_logits, "odm_deltas");
  args.batch = arm_logits.shape(0);
  args.anchors = arm_logits.shape(1);
  args.classes = odm_logits.shape(2) - 1;
  if (args.classes < 0 || args.anchors > INT32_MAX / odm_logits.shape(2)) {
    throw py::value_error("odm_logits: expected shape (B, A, 1 + C) with at most 2147483647 logits per image");
  }
  if (dtype_of(anchors, "anchors") != args.dtype || anchors.size() != 4 * args.anchors) {
    throw py::value_error("anchors: expected shape (A, 4) and the dtype of arm_logits");
  }
  args.arm_logits = arm_logits.data();
  args.arm_deltas = arm_deltas.data();
  args.odm_logits = odm_logits.data();
  args.odm_deltas = odm_deltas.data();
  args.anchor_boxes = anchors.data();
  args.theta = theta;
  std::copy(variances.begin(), variances.end(), args.variances);
  args.clip = clip_to.has_value();
  if (args.clip) {
    args.width = (*clip_to)[0];
    args.height = (*clip_to)[1];
  }
  args.score_threshold = score_threshold;
  args.settings = {iou_threshold, top_k_per_class.value_or(kNoLimit),     top_k.value_or(kNoLimit),
                   keep_top_k,    static_cast<SuppressionMethod>(method), sigma,
                   min_score};
  check_problem(suppression_problem(args.settings));
  const py::dtype work = args.dtype == DType::f64 ? py::dtype::of<double>() : py::dtype::of<float>();
  py::array boxes(work, std::vector<py::ssize_t>{args.batch, keep_top_k, 4});
  py::array scores(work, std::vector<py::ssize_t>{args.batch, keep_top_k});
  py::array_t<int64_t> labels({args.batch, keep_top_k}), count(args.batch);
  args.out_boxes = boxes.mutable_data();
  args.out_scores = scores.mutable_data();
  args.out_labels = labels.mutable_data();
  args.out_counts = count.mutable_data();
  {
    const py::gil_scoped_release unlocked;
    cpu::detect(args, ThreadPool::instance().parallel_for());
  }
  return py::make_tuple(boxes, scores, labels, count);
}

}  // namespace

void bind_detect(py::module_& m) { m.def("detect", &detect); }

}  // namespace refinedet::numpy
