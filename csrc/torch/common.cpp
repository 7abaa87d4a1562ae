#include "common.h"

#include <algorithm>
#include <cmath>

namespace refinedet::torch_ops {

std::string shape_of(const Tensor& t) {
  std::string text = "(";
  for (int64_t i = 0; i < t.dim(); ++i) {
    text += (i > 0 ? ", " : "") + std::to_string(t.size(i));
  }
  return text + ")";
}

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

void check_cpu(const Tensor& t, const char* name) {
  REFINEDET_CHECK(t.is_cpu(), name, ": expected a CPU tensor, got one on another device");
}

void check_variances(const std::vector<double>& variances) {
  REFINEDET_CHECK(variances.size() == 4, "variances: expected 4 values, got ", variances.size());
  for (const double v : variances) {
    REFINEDET_CHECK(v > 0 && std::isfinite(v), "variances: expected positive finite values, got ", v);
  }
}

void check_clip_to(const std::optional<std::vector<double>>& clip_to) {
  if (!clip_to.has_value()) {
    return;
  }
  REFINEDET_CHECK(clip_to->size() == 2, "clip_to: expected (width, height), got ", clip_to->size(), " values");
  for (const double side : *clip_to) {
    REFINEDET_CHECK(side >= 0 && std::isfinite(side), "clip_to: expected finite sizes of at least 0, got ", side);
  }
}

void check_last_dim(const Tensor& t, int64_t last, const char* name) {
  REFINEDET_CHECK(t.dim() >= 1 && t.size(t.dim() - 1) == last, name, ": expected shape (..., ", last, "), got ",
                  shape_of(t));
}

Device check_box_rows(const Tensor& rows, const char* name, const Tensor& anchors) {
  const Device device = device_of(rows, name);
  check_device(anchors, device, "anchors");
  check_last_dim(rows, 4, name);
  check_last_dim(anchors, 4, "anchors");
  check_dtype(anchors, rows.scalar_type(), "anchors");
  const Sizes row_sizes = rows.sizes(), anchor_sizes = anchors.sizes();
  const bool repeats = anchor_sizes.size() <= row_sizes.size() &&
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
  // not torch::stable::empty, which asks the dispatcher: most of a microsecond per result
  constexpr size_t kUsual = 8;
  int64_t usual[kUsual];
  std::vector<int64_t> many(sizes.size() > kUsual ? sizes.size() : 0);
  int64_t* const strides = many.empty() ? usual : many.data();
  int64_t step = 1;
  for (size_t i = sizes.size(); i-- > 0; step *= std::max<int64_t>(sizes[i], 1)) {
    strides[i] = step;
  }
  const auto number = torch::stable::detail::to<int32_t>(torch::stable::detail::from(dtype));
  AtenTensorHandle handle = nullptr;
  check_status(aoti_torch_empty_strided(static_cast<int64_t>(sizes.size()), sizes.data(), strides, number,
                                        device.type(), device.index(), &handle),
               "could not allocate a tensor");
  return Tensor(handle);
}

std::vector<int64_t> sizes_of(const Tensor& t) {
  const auto sizes = t.sizes();
  return {sizes.begin(), sizes.end()};
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
