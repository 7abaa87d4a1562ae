// What the bindings of the NumPy module share. The Python side (refinedet_ext/numpy/) brings arrays to C order and to
// one dtype and gives the friendly errors; the checks here only keep wrong calls from touching memory.
#pragma once

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <array>
#include <optional>
#include <string>
#include <vector>

#include "core/dtype.h"
#include "thread_pool.h"

namespace refinedet::numpy {

namespace py = pybind11;

// float32, float64 or float16, by NumPy's own kind and size.
DType dtype_of(const py::array& a, const char* name);

// C order, and shape (..., last) where last >= 0.
void check_array(const py::array& a, const char* name, int64_t last = -1);

// Throws what a check of csrc/ops found, if anything.
inline void check_problem(const std::string& problem) {
  if (!problem.empty()) {
    throw py::value_error(problem);
  }
}

std::vector<py::ssize_t> shape_of(const py::array& a);

// Each op binds itself in a file of its own name.
void bind_batched_nms(py::module_& m);
void bind_decode_boxes(py::module_& m);
void bind_decode_cascade(py::module_& m);
void bind_detect(py::module_& m);
void bind_encode_boxes(py::module_& m);
void bind_filter_anchors(py::module_& m);
void bind_match_anchors(py::module_& m);
void bind_multiclass_nms(py::module_& m);

}  // namespace refinedet::numpy
