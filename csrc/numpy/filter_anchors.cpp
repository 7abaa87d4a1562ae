#include "ops/filter_anchors.h"

#include "common.h"

namespace refinedet::numpy {
namespace {

void check(const py::array& logits) {
  check_array(logits, "arm_logits", 2);
  if (logits.ndim() != 3) {
    throw py::value_error("arm_logits: expected shape (B, A, 2)");
  }
}

std::pair<py::array, py::array> filter_anchors(const py::array& logits, double theta) {
  check(logits);
  const py::ssize_t batch = logits.shape(0), count = logits.shape(1);
  py::array_t<int64_t> index({batch, count});
  py::array_t<int64_t> index_count(batch);
  const FilterAnchorsArgs args{dtype_of(logits, "arm_logits"), logits.data(), batch, count, theta, index.mutable_data(),
                               index_count.mutable_data()};
  {
    const py::gil_scoped_release unlocked;
    cpu::filter_anchors(args, ThreadPool::instance().parallel_for());
  }
  return {std::move(index), std::move(index_count)};
}

py::array filter_anchors_mask(const py::array& logits, double theta) {
  check(logits);
  const py::ssize_t batch = logits.shape(0), count = logits.shape(1);
  py::array_t<bool> mask({batch, count});
  const FilterAnchorsMaskArgs args{
      dtype_of(logits, "arm_logits"), logits.data(), batch, count, theta, mask.mutable_data()};
  {
    const py::gil_scoped_release unlocked;
    cpu::filter_anchors_mask(args, ThreadPool::instance().parallel_for());
  }
  return mask;
}

}  // namespace

void bind_filter_anchors(py::module_& m) {
  m.def("filter_anchors", &filter_anchors);
  m.def("filter_anchors_mask", &filter_anchors_mask);
}

}  // namespace refinedet::numpy
