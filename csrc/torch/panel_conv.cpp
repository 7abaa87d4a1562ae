// Not of the public face: what refinedet.optimize_for_inference puts in a convolution's place. On the CPU alone.
#include "../cpu/panel_conv.h"

#include "as_contiguous.h"
#include "common.h"

#if !defined(REFINEDET_CUDA_ON_HOST)

namespace refinedet::torch_ops {
namespace {

struct Packed {
  int64_t size, panel;
};

// Of a weight with so many groups, channels of a group, and terms.
Packed packed_sizes(int64_t groups, int64_t out_channels, int64_t terms, const float* weight = nullptr,
                    float* packed = nullptr) {
  Packed sizes{};
  cpu::panel_conv_pack({groups, out_channels, terms, weight, packed, &sizes.size, &sizes.panel}, torch_threads());
  return sizes;
}

int64_t panel_size() { return packed_sizes(1, 1, 1).panel; }

int64_t panels_of(int64_t height, int64_t width) { return (height * width + panel_size() - 1) / panel_size(); }

void check_float(const Tensor& t, const char* name) {
  check_cpu(t, name);
  check_dtype(t, ScalarType::Float, name);
}

// (B, panels, C, pixels of a panel); any part of the channels of such a tensor.
template <class T>
cpu::PanelMaps<T> panel_maps(const Tensor& t, int64_t batch, int64_t channels, int64_t height, int64_t width,
                             const char* name) {
  check_float(t, name);
  const std::vector<int64_t> sizes{batch, panels_of(height, width), channels, panel_size()};
  REFINEDET_CHECK(sizes_of(t) == sizes, name, ": expected shape (", sizes[0], ", ", sizes[1], ", ", sizes[2], ", ",
                  sizes[3], "), got ", shape_of(t));
  REFINEDET_CHECK(t.stride(3) == 1 && (channels == 1 || t.stride(2) == sizes[3]), name,
                  ": expected channels that follow one another in memory");
  if constexpr (std::is_const_v<T>) {
    return {const_data<float>(t), t.stride(0), t.stride(1)};
  } else {
    return {data<float>(t), t.stride(0), t.stride(1)};
  }
}

Tensor panel_conv_pack(const Tensor& weight_in, int64_t groups) {
  const Tensor weight = as_contiguous(weight_in);
  check_float(weight, "weight");
  REFINEDET_CHECK(weight.dim() == 4, "weight: expected shape (Co, Ci, k, k), got ", shape_of(weight));
  REFINEDET_CHECK(groups > 0 && weight.size(0) % groups == 0, "groups: expected a divisor of ", weight.size(0),
                  " channels, got ", groups);
  const int64_t out_channels = weight.size(0) / groups, terms = weight.size(1) * weight.size(2) * weight.size(3);
  const Tensor packed = new_tensor({packed_sizes(groups, out_channels, terms).size}, ScalarType::Float);
  packed_sizes(groups, out_channels, terms, const_data<float>(weight), data<float>(packed));
  return packed;
}

void panel_conv_out(const Tensor& x, const std::optional<Tensor>& addend, const Tensor& weight,
                    const std::optional<Tensor>& bias, int64_t height, int64_t width, int64_t kernel, int64_t stride,
                    int64_t groups, bool relu, const std::optional<Tensor>& shortcut, bool last_relu,
                    const Tensor& out) {
  REFINEDET_CHECK(x.dim() == 4 && out.dim() == 4, "x, out: expected panels of 4 dimensions, got shapes ", shape_of(x),
                  " and ", shape_of(out));
  REFINEDET_CHECK((kernel == 1 && stride == 1 && !addend.has_value()) || (kernel == 3 && (stride == 1 || stride == 2)),
                  "kernel, stride: expected 1 and 1 without an addend, 3 and 1 or 3 and 2, got ", kernel, " and ",
                  stride);
  REFINEDET_CHECK(height > 0 && width > 0, "height, width: expected at least 1, got ", height, " and ", width);
  const int64_t in_channels = x.size(2), out_channels = out.size(2), batch = x.size(0);
  REFINEDET_CHECK(groups > 0 && in_channels % groups == 0 && out_channels % groups == 0,
                  "groups: expected a divisor of ", in_channels, " and ", out_channels, " channels, got ", groups);
  cpu::PanelConvArgs args{};
  args.batch = batch;
  args.groups = groups;
  args.in_channels = in_channels / groups;
  args.out_channels = out_channels / groups;
  args.height = height;
  args.width = width;
  args.kernel = kernel;
  args.stride = stride;
  const int64_t out_height = args.out_height(), out_width = args.out_width();
  args.x = panel_maps<const float>(x, batch, in_channels, height, width, "x");
  args.out = panel_maps<float>(out, batch, out_channels, out_height, out_width, "out");
  if (addend.has_value()) {
    args.addend = panel_maps<const float>(*addend, batch, in_channels, height, width, "addend");
  }
  if (shortcut.has_value()) {
    args.shortcut = panel_maps<const float>(*shortcut, batch, out_channels, out_height, out_width, "shortcut");
  }
  const int64_t size = packed_sizes(groups, args.out_channels, args.terms()).size;
  check_float(weight, "weight");
  REFINEDET_CHECK(weight.dim() == 1 && weight.size(0) == size && weight.is_contiguous(),
                  "weight: expected a packed one of ", size, " values, got ", shape_of(weight));
  args.weight = const_data<float>(weight);
  if (bias.has_value()) {
    check_float(*bias, "bias");
    REFINEDET_CHECK(bias->dim() == 1 && bias->size(0) == out_channels && bias->is_contiguous(),
                    "bias: expected shape (", out_channels, "), got ", shape_of(*bias));
    args.bias = const_data<float>(*bias);
  }
  args.relu = relu || (last_relu && !shortcut.has_value());
  args.last_relu = last_relu;
  cpu::panel_conv(args, torch_threads());
}

Tensor panel_conv(const Tensor& x, const std::optional<Tensor>& addend, const Tensor& weight,
                  const std::optional<Tensor>& bias, int64_t out_channels, int64_t height, int64_t width,
                  int64_t kernel, int64_t stride, int64_t groups, bool relu, const std::optional<Tensor>& shortcut,
                  bool last_relu) {
  REFINEDET_CHECK(x.dim() == 4, "x: expected panels of 4 dimensions, got shape ", shape_of(x));
  REFINEDET_CHECK(stride == 1 || stride == 2, "stride: expected 1 or 2, got ", stride);
  const int64_t panels = panels_of((height + stride - 1) / stride, (width + stride - 1) / stride);
  const Tensor out = new_tensor({x.size(0), panels, out_channels, panel_size()}, ScalarType::Float);
  panel_conv_out(x, addend, weight, bias, height, width, kernel, stride, groups, relu, shortcut, last_relu, out);
  return out;
}

void copy_panels(const Tensor& maps, const Tensor& panels, bool to_maps) {
  cpu::PanelCopyArgs args{};
  args.batch = maps.size(0);
  args.channels = maps.size(1);
  args.height = maps.size(2);
  args.width = maps.size(3);
  args.maps = data<float>(maps);
  args.maps_image = maps.stride(0);
  args.maps_channel = maps.stride(1);
  args.maps_line = maps.stride(2);
  args.maps_pixel = maps.stride(3);
  args.panels = panel_maps<float>(panels, args.batch, args.channels, args.height, args.width, "panels");
  args.to_maps = to_maps;
  cpu::panel_copy(args, torch_threads());
}

Tensor to_panels(const Tensor& maps) {
  check_float(maps, "maps");
  REFINEDET_CHECK(maps.dim() == 4, "maps: expected shape (B, C, H, W), got ", shape_of(maps));
  const Tensor panels =
      new_tensor({maps.size(0), panels_of(maps.size(2), maps.size(3)), maps.size(1), panel_size()}, ScalarType::Float);
  copy_panels(maps, panels, false);
  return panels;
}

Tensor from_panels(const Tensor& panels, int64_t height, int64_t width) {
  REFINEDET_CHECK(panels.dim() == 4, "panels: expected 4 dimensions, got shape ", shape_of(panels));
  const Tensor maps = new_tensor({panels.size(0), panels.size(2), height, width}, ScalarType::Float);
  copy_panels(maps, panels, true);
  return maps;
}

}  // namespace

STABLE_TORCH_LIBRARY_FRAGMENT(REFINEDET_LIBRARY, m) {
  m.def("_panel_size() -> int");
  m.def("_panel_conv_pack(Tensor weight, int groups) -> Tensor");
  m.def(
      "_panel_conv(Tensor x, Tensor? addend, Tensor weight, Tensor? bias, int out_channels, int height, int width,"
      " int kernel, int stride, int groups, bool relu, Tensor? shortcut, bool last_relu) -> Tensor");
  m.def(
      "_panel_conv_out(Tensor x, Tensor? addend, Tensor weight, Tensor? bias, int height, int width, int kernel,"
      " int stride, int groups, bool relu, Tensor? shortcut, bool last_relu, Tensor(a!) out) -> ()");
  m.def("_to_panels(Tensor maps) -> Tensor");
  m.def("_from_panels(Tensor panels, int height, int width) -> Tensor");
}

STABLE_TORCH_LIBRARY_IMPL(REFINEDET_LIBRARY, CompositeExplicitAutograd, m) {
  m.impl("_panel_size", TORCH_BOX(&panel_size));
}

STABLE_TORCH_LIBRARY_IMPL(REFINEDET_LIBRARY, CPU, m) {
  m.impl("_panel_conv_pack", TORCH_BOX(&panel_conv_pack));
  m.impl("_panel_conv", TORCH_BOX(&panel_conv));
  m.impl("_panel_conv_out", TORCH_BOX(&panel_conv_out));
  m.impl("_to_panels", TORCH_BOX(&to_panels));
  m.impl("_from_panels", TORCH_BOX(&from_panels));
}

}  // namespace refinedet::torch_ops

#endif
