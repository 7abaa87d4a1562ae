#include "ops/decode_cascade.h"

#include "common.h"
#include "ops/cascade_checks.h"

namespace refinedet::numpy {
namespace {

using Index = py::array_t<int64_t, py::array::c_style>;

void check_kept(const Index& index, const Index& count, int64_t batch, int64_t anchors) {
  if (index.ndim() != 2 || index.shape(0) != batch || index.shape(1) != anchors || count.ndim() != 1 ||
      count.shape(0) != batch) {
    throw py::value_error("kept: expected index (B, A) and count (B,)");
  }
  check_problem(kept_problem(index.data(), count.data(), batch, anchors));
}

py::array decode_cascade(const py::array& arm_deltas, const py::array& odm_deltas, const py::array& anchors,
                         const std::optional<Index>& kept_index, const std::optional<Index>& kept_count,
                         const std::array<double, 4>& variances) {
  check_array(arm_deltas, "arm_deltas", 4);
  check_array(odm_deltas, "odm_deltas", 4);
  check_array(anchors, "anchors", 4);
  DecodeCascadeArgs args{};
  args.dtype = dtype_of(arm_deltas, "arm_deltas");
  if (dtype_of(odm_deltas, "odm_deltas") != args.dtype || dtype_of(anchors, "anchors") != args.dtype) {
    throw py::type_error("odm_deltas, anchors: expected the dtype of arm_deltas");
  }
  if (arm_deltas.ndim() != 3 || shape_of(odm_deltas) != shape_of(arm_deltas)) {
    throw py::value_error("arm_deltas, odm_deltas: expected shape (B, A, 4)");
  }
  args.batch = arm_deltas.shape(0);
  args.count = arm_deltas.shape(1);
  args.shared_anchors = anchors.ndim() == 2;
  if (anchors.size() != (args.shared_anchors ? 4 * args.count : arm_deltas.size())) {
    throw py::value_error("anchors: expected shape (A, 4) or (B, A, 4)");
  }
  std::copy(variances.begin(), variances.end(), args.variances);
  if (kept_index.has_value() && kept_count.has_value()) {
    check_kept(*kept_index, *kept_count, args.batch, args.count);
    args.kept_index = kept_index->data();
    args.kept_count = kept_count->data();
  }
  py::array boxes(arm_deltas.dtype(), shape_of(arm_deltas));
  args.arm_deltas = arm_deltas.data();
  args.odm_deltas = odm_deltas.data();
  args.anchors = anchors.data();
  args.boxes = boxes.mutable_data();
  const py::gil_scoped_release unlocked;
  cpu::decode_cascade(args, ThreadPool::instance().parallel_for());
  return boxes;
}

}  // namespace

void bind_decode_cascade(py::module_& m) { m.def("decode_cascade", &decode_cascade); }

}  // namespace refinedet::numpy
