#include "ops/batched_nms.h"

#include "common.h"

namespace refinedet::numpy {
namespace {

using Indices = py::array_t<int64_t, py::array::c_style>;

// Without idxs all boxes compete.
Indices batched_nms(const py::array& boxes, const py::array& scores, const std::optional<Indices>& idxs,
                    double iou_threshold) {
  check_array(boxes, "boxes", 4);
  check_array(scores, "scores");
  BatchedNmsArgs args{};
  args.box_dtype = dtype_of(boxes, "boxes");
  args.score_dtype = dtype_of(scores, "scores");
  args.count = boxes.size() / 4;
  if (scores.size() != args.count || (idxs && idxs->size() != args.count)) {
    throw py::value_error("scores, idxs: expected one for each of the " + std::to_string(args.count) + " boxes");
  }
  if (args.count > INT32_MAX) {
    throw py::value_error("boxes: expected at most 2147483647 rows, got " + std::to_string(args.count));
  }
  args.boxes = boxes.data();
  args.scores = scores.data();
  args.idxs = idxs ? idxs->data() : nullptr;
  args.iou_threshold = iou_threshold;
  Indices room(args.count);
  int64_t kept = 0;
  args.keep = room.mutable_data();
  args.keep_count = &kept;
  {
    const py::gil_scoped_release unlocked;
    cpu::batched_nms(args, ThreadPool::instance().parallel_for());
  }
  return Indices(kept, room.data());
}

}  // namespace

void bind_batched_nms(py::module_& m) { m.def("batched_nms", &batched_nms); }

}  // namespace refinedet::numpy
