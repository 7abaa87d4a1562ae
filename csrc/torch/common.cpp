#include "common.h"

#include <algorithm>

#include "cpu/runtime/huge_pages.h"

namespace refinedet::torch_ops {
namespace {

std::string text_of(Sizes sizes) {
  std::string text = "(";
  for (size_t i = 0; i < sizes.size(); ++i) {
    text += (i > 0 ? ", " : "") + std::to_string(sizes[i]);
  }
  return text + ")";
}

// Of the dtypes that the ops allocate.
double element_size(ScalarType dtype) {
  using enum ScalarType;
  return dtype == Double || dtype == Long     ? 8
         : dtype == Float || dtype == Int     ? 4
         : dtype == Half || dtype == BFloat16 ? 2
                                              : 1;
}

// Not torch::stable::empty, which asks the dispatcher: most of a microsecond per result.
Tensor empty_strided(Sizes sizes, const int64_t* strides, ScalarType dtype, Device device) {
  const auto number = torch::stable::detail::to<int32_t>(torch::stable::detail::from(dtype));
  AtenTensorHandle handle = nullptr;
  if (aoti_torch_empty_strided(static_cast<int64_t>(sizes.size()), sizes.data(), strides, number, device.type(),
                               device.index(), &handle) != AOTI_TORCH_SUCCESS) {
    double bytes = element_size(dtype);  // double: the product may be beyond 2^63
    for (const int64_t size : sizes) {
      bytes *= static_cast<double>(size);
    }
    REFINEDET_CHECK(false, "could not allocate ", std::to_string(bytes / (1 << 20)), " MiB for a tensor of ",
                    torch::headeronly::toString(dtype), " ", text_of(sizes));
  }
  return Tensor(handle);
}

}  // namespace

std::string shape_of(const Tensor& t) { return text_of(t.sizes()); }

DType dtype_of(const Tensor& t, const char* name) {
  switch (t.scalar_type()) {
    case ScalarType::Float:
      return DType::f32;
    case ScalarType::Double:
      return DType::f64;
    case ScalarType::Half:
      return DType::f16;
    case ScalarType::BFloat16:
      return DType::bf16;
    default:
      REFINEDET_CHECK(false, name, ": expected a floating dtype, got ", torch::headeronly::toString(t.scalar_type()));
  }
}

void check_dtype(const Tensor& t, ScalarType dtype, const char* name) {
  REFINEDET_CHECK(t.scalar_type() == dtype, name, ": expected dtype ", torch::headeronly::toString(dtype), ", got ",
                  torch::headeronly::toString(t.scalar_type()));
}

void check_shape(const Tensor& t, const char* name, Shape shape, const char* whose) {
  const Sizes sizes = t.sizes();
  const bool fits = std::equal(sizes.begin(), sizes.end(), shape.begin(), shape.end(),
                               [](int64_t size, const Dim& dim) { return dim.name != nullptr || size == dim.size; });
  if (!fits) {
    std::string text;
    for (const Dim& dim : shape) {
      text += (text.empty() ? "" : ", ") + (dim.name != nullptr ? dim.name : std::to_string(dim.size));
    }
    REFINEDET_CHECK(false, name, ": expected shape (", text, shape.size() == 1 ? ",)" : ")",
                    whose != nullptr ? std::string(" as ") + whose + " has" : "", ", got ", shape_of(t));
  }
}

void check_tensor(const Tensor& t, const char* name, Device device, ScalarType dtype, Shape shape, const char* whose) {
  check_device(t, device, name);
  check_dtype(t, dtype, name);
  check_shape(t, name, shape, whose);
}

void check_like(const Tensor& t, const char* name, const Tensor& model, const char* model_name) {
  check_device(t, device_of(model, model_name), name);
  check_dtype(t, model.scalar_type(), name);
  REFINEDET_CHECK(t.sizes().equals(model.sizes()), name, ": expected shape ", shape_of(model), " as ", model_name,
                  " has, got ", shape_of(t));
}

void check_problem(const std::string& problem) { REFINEDET_CHECK(problem.empty(), problem); }

Device check_box_rows(const Tensor& rows, const char* name, const Tensor& anchors) {
  const Device device = device_of(rows, name);
  check_device(anchors, device, "anchors");
  REFINEDET_CHECK(rows.dim() >= 1 && rows.size(rows.dim() - 1) == 4, name, ": expected shape (..., 4), got ",
                  shape_of(rows));
  check_dtype(anchors, rows.scalar_type(), "anchors");
  const Sizes row_sizes = rows.sizes(), anchor_sizes = anchors.sizes();
  const bool repeats = anchor_sizes.size() >= 1 && anchor_sizes.size() <= row_sizes.size() &&
                       std::equal(anchor_sizes.begin(), anchor_sizes.end(), row_sizes.end() - anchor_sizes.size());
  REFINEDET_CHECK(repeats, "anchors: expected rows that repeat over those of ", name, " ", shape_of(rows), ", got ",
                  shape_of(anchors));
  return device;
}

ParallelFor torch_threads() {
  const auto run = [](void*, int64_t n, int64_t grain, ParallelFor::Body body, void* context) {
    torch::stable::parallel_for(0, n, grain, [=](int64_t begin, int64_t end) { body(context, begin, end); });
  };
  return {run, nullptr, static_cast<int64_t>(torch::stable::get_num_threads())};
}

void check_status(AOTITorchError code, const char* failure) { REFINEDET_CHECK(code == AOTI_TORCH_SUCCESS, failure); }

Tensor new_tensor(Sizes sizes, ScalarType dtype, Device device) {
  std::vector<int64_t> strides(sizes.size());
  int64_t step = 1;
  for (size_t i = sizes.size(); i-- > 0; step *= std::max<int64_t>(sizes[i], 1)) {
    strides[i] = step;
  }
  return empty_strided(sizes, strides.data(), dtype, device);
}

Tensor new_map(Sizes sizes, ScalarType dtype, bool channels_last, Device device) {
  const int64_t line = sizes[1] * sizes[3], strides[] = {line * sizes[2], 1, line, sizes[1]};
  Tensor map = channels_last ? empty_strided(sizes, strides, dtype, device) : new_tensor(sizes, dtype, device);
  if (!device.on_gpu()) {
    cpu::ask_for_huge_pages(map.mutable_data_ptr(), map.numel() * static_cast<int64_t>(map.element_size()));
  }
  return map;
}

Tensor as_contiguous(const Tensor& t) {
  if (t.is_contiguous()) {
    return t;
  }
  Tensor copy = new_tensor(t.sizes(), t.scalar_type(), t.is_cpu() ? Device::cpu() : Device::cuda(t.get_device_index()));
  torch::stable::copy_(copy, t);
  return copy;
}

bool is_channels_last(const Tensor& t) {
  if (t.dim() != 4 || t.is_contiguous()) {
    return false;
  }
  int64_t expected = 1;
  for (const int64_t dim : {1, 3, 2, 0}) {
    if (t.size(dim) != 1) {
      if (t.stride(dim) != expected) {
        return false;
      }
      expected *= t.size(dim);
    }
  }
  return true;
}

}  // namespace refinedet::torch_ops
