#include "ops/decode_boxes.h"

#include "common.h"

namespace refinedet::numpy {
namespace {

py::array decode_boxes(const py::array& deltas, const py::array& anchors, const std::array<double, 4>& variances,
                       const std::optional<std::array<double, 2>>& clip_to) {
  check_array(deltas, "deltas", 4);
  check_array(anchors, "anchors", 4);
  DecodeBoxesArgs args{};
  args.dtype = dtype_of(deltas, "deltas");
  args.count = deltas.size() / 4;
  args.anchor_count = anchors.size() / 4;
  if (dtype_of(anchors, "anchors") != args.dtype) {
    throw py::type_error("anchors: expected the dtype of deltas");
  }
  if (args.count > 0 && (args.anchor_count == 0 || args.count % args.anchor_count != 0)) {
    throw py::value_error("anchors: expected rows that repeat over those of deltas");
  }
  std::copy(variances.begin(), variances.end(), args.variances);
  args.clip = clip_to.has_value();
  if (args.clip) {
    args.width = (*clip_to)[0];
    args.height = (*clip_to)[1];
  }
  py::array boxes(deltas.dtype(), shape_of(deltas));
  args.deltas = deltas.data();
  args.anchors = anchors.data();
  args.boxes = boxes.mutable_data();
  const py::gil_scoped_release unlocked;
  cpu::decode_boxes(args, ThreadPool::instance().parallel_for());
  return boxes;
}

}  // namespace

void bind_decode_boxes(py::module_& m) { m.def("decode_boxes", &decode_boxes); }

}  // namespace refinedet::numpy
