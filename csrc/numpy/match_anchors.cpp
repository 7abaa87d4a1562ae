#include "ops/match_anchors.h"

#include "common.h"
#include "ops/match_checks.h"

namespace refinedet::numpy {
namespace {

template <class T>
const T* rows_of(const py::array& a, int64_t rows, const char* name) {
  check_array(a, name);
  if (!py::isinstance<py::array_t<T>>(a)) {
    throw py::type_error(std::string(name) + ": expected dtype " +
                         py::str(py::dtype::of<T>()).template cast<std::string>());
  }
  if (a.ndim() != 1 || a.shape(0) != rows) {
    throw py::value_error(std::string(name) + ": expected shape (" + std::to_string(rows) + ",)");
  }
  return static_cast<const T*>(a.data());
}

py::tuple match_anchors(const py::array& anchors, const py::array& gt_boxes, const py::array& gt_labels,
                        const py::array& gt_offsets, const std::optional<py::array>& gt_ignore, double positive_iou,
                        double negative_iou, double ignore_iof, const std::string& force_match) {
  check_array(anchors, "anchors", 4);
  check_array(gt_boxes, "gt_boxes", 4);
  MatchAnchorsArgs args{};
  args.batch = gt_offsets.size() - 1;
  args.gt_count = gt_boxes.size() / 4;
  args.shared = anchors.ndim() == 2;
  if (gt_boxes.ndim() != 2) {
    throw py::value_error("gt_boxes: expected shape (G, 4)");
  }
  if (args.batch < 0) {
    throw py::value_error("gt_offsets: expected shape (B+1,)");
  }
  if (!args.shared && (anchors.ndim() != 3 || anchors.shape(0) != args.batch)) {
    throw py::value_error("anchors: expected shape (A, 4) or (" + std::to_string(args.batch) + ", A, 4)");
  }
  const std::optional<ForceMatch> force = force_match_of(force_match);
  if (!force.has_value()) {
    throw py::value_error("force_match: expected bipartite, argmax or none, got " + force_match);
  }
  args.anchor_dtype = dtype_of(anchors, "anchors");
  args.anchors = anchors.data();
  args.anchor_count = anchors.shape(anchors.ndim() - 2);
  args.gt_dtype = dtype_of(gt_boxes, "gt_boxes");
  args.gt_boxes = gt_boxes.data();
  args.gt_labels = rows_of<int64_t>(gt_labels, args.gt_count, "gt_labels");
  args.gt_offsets = rows_of<int64_t>(gt_offsets, args.batch + 1, "gt_offsets");
  args.gt_ignore = gt_ignore.has_value() ? rows_of<bool>(*gt_ignore, args.gt_count, "gt_ignore") : nullptr;
  args.positive_iou = positive_iou;
  args.negative_iou = negative_iou;
  args.ignore_iof = ignore_iof;
  args.force = *force;
  for (const auto& look_for : {match_problem, match_data_problem}) {
    if (const std::string problem = look_for(args); !problem.empty()) {
      throw py::value_error(problem);
    }
  }
  const std::vector<py::ssize_t> shape = {args.batch, args.anchor_count};
  py::array_t<int64_t> labels(shape), gt_index(shape);
  py::array_t<float> iou(shape);
  args.labels = labels.mutable_data();
  args.gt_index = gt_index.mutable_data();
  args.iou = iou.mutable_data();
  {
    const py::gil_scoped_release unlocked;
    cpu::match_anchors(args, ThreadPool::instance().parallel_for());
  }
  return py::make_tuple(labels, gt_index, iou);
}

}  // namespace

void bind_match_anchors(py::module_& m) { m.def("match_anchors", &match_anchors); }

}  // namespace refinedet::numpy
