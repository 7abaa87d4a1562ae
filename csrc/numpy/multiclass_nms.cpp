#include "ops/multiclass_nms.h"

#include "common.h"
#include "ops/suppression_checks.h"

namespace refinedet::numpy {
namespace {

// The Python side has checked the settings; `method` counts the methods of SuppressionMethod.
py::tuple multiclass_nms(const py::array& boxes, const py::array& scores, double score_threshold, double iou_threshold,
                         std::optional<int64_t> top_k_per_class, std::optional<int64_t> top_k, int64_t keep_top_k,
                         int method, double sigma, double min_score) {
  check_array(boxes, "boxes", 4);
  check_array(scores, "scores");
  if (boxes.ndim() != 3 || scores.ndim() != 3 || scores.shape(0) != boxes.shape(0) ||
      scores.shape(1) != boxes.shape(1)) {
    throw py::value_error("boxes, scores: expected shapes (B, A, 4) and (B, A, C)");
  }
  MulticlassNmsArgs args{};
  args.box_dtype = dtype_of(boxes, "boxes");
  args.score_dtype = dtype_of(scores, "scores");
  args.images = boxes.shape(0);
  args.anchors = boxes.shape(1);
  args.classes = scores.shape(2);
  if (args.classes > 0 && args.anchors > INT32_MAX / args.classes) {
    throw py::value_error("scores: expected at most 2147483647 scores per image");
  }
  args.boxes = boxes.data();
  args.scores = scores.data();
  args.box_image_stride = args.anchors * 4;
  args.score_image_stride = args.anchors * args.classes;
  args.score_row_stride = args.classes;
  args.score_threshold = score_threshold;
  args.settings = {iou_threshold, top_k_per_class.value_or(kNoLimit),     top_k.value_or(kNoLimit),
                   keep_top_k,    static_cast<SuppressionMethod>(method), sigma,
                   min_score};
  check_problem(suppression_problem(args.settings));
  py::array out_boxes(boxes.dtype(), std::vector<py::ssize_t>{args.images, keep_top_k, 4});
  py::array out_scores(scores.dtype(), std::vector<py::ssize_t>{args.images, keep_top_k});
  py::array_t<int64_t> labels({args.images, keep_top_k}), count(args.images);
  args.out_boxes = out_boxes.mutable_data();
  args.out_scores = out_scores.mutable_data();
  args.out_labels = labels.mutable_data();
  args.out_counts = count.mutable_data();
  {
    const py::gil_scoped_release unlocked;
    cpu::multiclass_nms(args, ThreadPool::instance().parallel_for());
  }
  return py::make_tuple(out_boxes, out_scores, labels, count);
}

}  // namespace

void bind_multiclass_nms(py::module_& m) { m.def("multiclass_nms", &multiclass_nms); }

}  // namespace refinedet::numpy
