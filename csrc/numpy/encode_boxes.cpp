#include "ops/encode_boxes.h"

#include "common.h"

namespace refinedet::numpy {
namespace {

py::array encode_boxes(const py::array& boxes, const py::array& anchors, const std::array<double, 4>& variances) {
  check_array(boxes, "boxes", 4);
  check_array(anchors, "anchors", 4);
  EncodeBoxesArgs args{};
  args.dtype = dtype_of(boxes, "boxes");
  args.count = boxes.size() / 4;
  args.anchor_count = anchors.size() / 4;
  if (dtype_of(anchors, "anchors") != args.dtype) {
    throw py::type_error("anchors: expected the dtype of boxes");
  }
  if (args.count > 0 && (args.anchor_count == 0 || args.count % args.anchor_count != 0)) {
    throw py::value_error("anchors: expected rows that repeat over those of boxes");
  }
  std::copy(variances.begin(), variances.end(), args.variances);
  py::array deltas(boxes.dtype(), shape_of(boxes));
  args.boxes = boxes.data();
  args.anchors = anchors.data();
  args.deltas = deltas.mutable_data();
  const py::gil_scoped_release unlocked;
  cpu::encode_boxes(args, ThreadPool::instance().parallel_for());
  return deltas;
}

}  // namespace

void bind_encode_boxes(py::module_& m) { m.def("encode_boxes", &encode_boxes); }

}  // namespace refinedet::numpy
