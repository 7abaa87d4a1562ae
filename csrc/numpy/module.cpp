// The module refinedet_ext._numpy_ops: the box ops on NumPy arrays, with no torch in the process.
#include "common.h"
#include "cpu/runtime/level.h"

namespace refinedet::numpy {

DType dtype_of(const py::array& a, const char* name) {
  if (a.dtype().kind() == 'f') {
    switch (a.itemsize()) {
      case 2:
        return DType::f16;
      case 4:
        return DType::f32;
      case 8:
        return DType::f64;
    }
  }
  throw py::type_error(std::string(name) + ": expected dtype float16, float32 or float64, got " +
                       py::str(a.dtype()).cast<std::string>());
}

void check_array(const py::array& a, const char* name, int64_t last) {
  if ((a.flags() & py::array::c_style) == 0) {
    throw py::value_error(std::string(name) + ": expected a C-contiguous array");
  }
  if (last >= 0 && (a.ndim() < 1 || a.shape(a.ndim() - 1) != last)) {
    throw py::value_error(std::string(name) + ": expected shape (..., " + std::to_string(last) + ")");
  }
}

std::vector<py::ssize_t> shape_of(const py::array& a) { return {a.shape(), a.shape() + a.ndim()}; }

}  // namespace refinedet::numpy

PYBIND11_MODULE(_numpy_ops, m) {
  using namespace refinedet;
  m.attr("compiler") = REFINEDET_COMPILER;
  m.def("cpu_level", [] { return cpu::level_name(cpu::level()); });
  m.def("set_num_threads", [](int64_t threads) { numpy::ThreadPool::instance().set_threads(threads); });
  m.def("get_num_threads", [] { return numpy::ThreadPool::instance().threads(); });
  numpy::bind_batched_nms(m);
  numpy::bind_decode_boxes(m);
  numpy::bind_decode_cascade(m);
  numpy::bind_detect(m);
  numpy::bind_encode_boxes(m);
  numpy::bind_filter_anchors(m);
  numpy::bind_match_anchors(m);
  numpy::bind_multiclass_nms(m);
}
