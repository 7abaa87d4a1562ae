#include "deform_align.h"

#include <algorithm>

#include "as_contiguous.h"
#include "deform_align_cuda.h"

namespace refinedet::torch_ops {
namespace {

// bfloat16 products are fast where the machine multiplies bfloat16; elsewhere they would be emulated.
bool multiplies_bfloat16() {
#if REFINEDET_X86_LEVELS
  return cpu::level() == cpu::Level::avx512 && __builtin_cpu_supports("avx512bf16");
#else
  return false;
#endif
}

ScalarType compute_dtype(const Tensor& input, Device device) {
  if (device.on_gpu()) {
    return input.scalar_type();
  }
  switch (dtype_of(input, "input")) {
    case DType::f64:
      return ScalarType::Double;
    case DType::bf16:
      return multiplies_bfloat16() ? ScalarType::BFloat16 : ScalarType::Float;
    default:
      return ScalarType::Float;
  }
}

// Throws unless both numbers are at least `low`.
void check_pair(const std::array<int64_t, 2>& pair, int64_t low, const char* name) {
  REFINEDET_CHECK(pair[0] >= low && pair[1] >= low, name, ": expected two integers of at least ", low, ", got ",
                  pair[0], " and ", pair[1]);
}

// Throws unless `t` is (B, channels, Ho, Wo).
void check_map(const Tensor& t, const DeformCall& call, int64_t channels, const char* name) {
  check_device(t, call.device, name);
  dtype_of(t, name);
  const std::array<int64_t, 4> expected{call.batch, channels, call.geometry.out_height, call.geometry.out_width};
  const Sizes sizes = t.sizes();
  REFINEDET_CHECK(std::equal(sizes.begin(), sizes.end(), expected.begin(), expected.end()), name, ": expected shape (",
                  expected[0], ", ", expected[1], ", ", expected[2], ", ", expected[3], "), got ", shape_of(t));
}

int64_t offset_groups_of(const std::optional<Tensor>& offset, const std::optional<Tensor>& center,
                         const std::optional<Tensor>& mask, int64_t taps) {
  const auto groups = [](const Tensor& t, int64_t per_group, const char* name) {
    REFINEDET_CHECK(t.dim() == 4 && t.size(1) > 0 && t.size(1) % per_group == 0, name,
                    ": expected 4 dimensions with a multiple of ", per_group, " channels, got ", shape_of(t));
    return t.size(1) / per_group;
  };
  return offset   ? groups(*offset, 2 * taps, "offset")
         : center ? groups(*center, 2, "center")
         : mask   ? groups(*mask, taps, "mask")
                  : 1;
}

std::optional<Tensor> contiguous(const std::optional<Tensor>& t) {
  return t ? std::optional<Tensor>(as_contiguous(*t)) : std::nullopt;
}

int64_t out_size(int64_t size, int64_t pad, int64_t dilation, int64_t kernel, int64_t stride) {
  const int64_t room = size + 2 * pad - dilation * (kernel - 1) - 1;
  return room < 0 ? (room >= -stride ? 0 : -1) : room / stride + 1;
}

}  // namespace

DeformSteps deform_steps(const std::vector<int64_t>& stride, const std::vector<int64_t>& padding,
                         const std::vector<int64_t>& dilation) {
  const auto pair = [](const std::vector<int64_t>& numbers, int64_t low, const char* name) {
    REFINEDET_CHECK(numbers.size() == 2, name, ": expected two integers of at least ", low, ", got ", numbers.size(),
                    " values");
    return std::array<int64_t, 2>{numbers[0], numbers[1]};
  };
  return {pair(stride, 1, "stride"), pair(padding, 0, "padding"), pair(dilation, 1, "dilation")};
}

DeformCall deform_call(const Tensor& input, const Tensor& weight, const std::optional<Tensor>& offset,
                       const std::optional<Tensor>& center, const std::optional<Tensor>& mask,
                       const DeformSteps& steps) {
  const auto& [stride, padding, dilation] = steps;
  DeformCall call;
  call.device = device_of(input, "input");
  call.dtype = input.scalar_type();
  check_device(weight, call.device, "weight");
  check_no_double_on_gpu(input, call.device, "input");
  REFINEDET_CHECK(input.dim() == 4, "input: expected shape (B, C, H, W), got ", shape_of(input));
  REFINEDET_CHECK(weight.dim() == 4 && weight.size(1) > 0 && weight.size(2) > 0 && weight.size(3) > 0,
                  "weight: expected shape (Co, C / groups, kh, kw), got ", shape_of(weight));
  check_dtype(weight, call.dtype, "weight");
  check_pair(stride, 1, "stride");
  check_pair(padding, 0, "padding");
  check_pair(dilation, 1, "dilation");

  call.batch = input.size(0);
  call.channels = input.size(1);
  call.out_channels = weight.size(0);
  REFINEDET_CHECK(call.channels > 0 && call.channels % weight.size(1) == 0, "input: expected a multiple of ",
                  weight.size(1), " channels, as weight ", shape_of(weight), " has, got ", shape_of(input));
  call.groups = call.channels / weight.size(1);
  REFINEDET_CHECK(call.out_channels % call.groups == 0, "weight: expected a multiple of ", call.groups,
                  " output channels (input has ", call.groups, " groups of ", weight.size(1), "), got ",
                  shape_of(weight));

  DeformGeometry& g = call.geometry;
  g.height = input.size(2), g.width = input.size(3);
  g.kernel_h = weight.size(2), g.kernel_w = weight.size(3);
  g.stride_y = stride[0], g.stride_x = stride[1];
  g.pad_y = padding[0], g.pad_x = padding[1];
  g.dilation_y = dilation[0], g.dilation_x = dilation[1];
  g.out_height = out_size(g.height, g.pad_y, g.dilation_y, g.kernel_h, g.stride_y);
  g.out_width = out_size(g.width, g.pad_x, g.dilation_x, g.kernel_w, g.stride_x);
  REFINEDET_CHECK(g.out_height >= 0 && g.out_width >= 0, "input: expected a map that the kernel fits into, got ",
                  shape_of(input), " for weight ", shape_of(weight));
  REFINEDET_CHECK(g.in_pixels() < (int64_t{1} << 31), "input: expected fewer than 2^31 pixels in an image, got ",
                  shape_of(input));
  REFINEDET_CHECK(g.out_pixels() < (int64_t{1} << 31), "input: expected fewer than 2^31 pixels in the result, got ",
                  g.out_height, " x ", g.out_width);
  g.offset_groups = offset_groups_of(offset, center, mask, g.taps());
  REFINEDET_CHECK(call.channels % g.offset_groups == 0,
                  offset   ? "offset"
                  : center ? "center"
                           : "mask",
                  ": expected offset groups that divide the ", call.channels, " channels of input, got ",
                  g.offset_groups);
  if (offset) {
    check_map(*offset, call, 2 * g.offset_groups * g.taps(), "offset");
  }
  if (center) {
    check_map(*center, call, 2 * g.offset_groups, "center");
  }
  if (mask) {
    check_map(*mask, call, g.offset_groups * g.taps(), "mask");
  }

  call.channels_last = is_channels_last(input);
  call.input = call.channels_last ? input : as_contiguous(input);
  call.weight_channels_last = is_channels_last(weight);
  call.weight = call.weight_channels_last ? weight : as_contiguous(weight);
  call.offset = contiguous(offset);
  call.center = contiguous(center);
  call.mask = contiguous(mask);
  call.compute = compute_dtype(input, call.device);
  call.sampling = call.compute == ScalarType::Double ? ScalarType::Double : ScalarType::Float;
  return call;
}

namespace {

// out += bias for a tile of a block's output channels.
void add_bias(const DeformBlock& work, const Tensor& bias, const Tensor& out, bool channels_last,
              const TileRange& range) {
  const int64_t first = work.first_output();
  char* values = static_cast<char*>(const_cast<void*>(bias.const_data_ptr())) + first * element_size(out.scalar_type());
  write_rows({values, 0, 0, 1}, out.scalar_type(), out, channels_last, range, first, work.outputs(), /*add=*/true,
             false);
}

Tensor forward(const Tensor& input, const Tensor& weight, const std::optional<Tensor>& offset,
               const std::optional<Tensor>& center, const std::optional<Tensor>& mask, std::optional<Tensor> bias,
               const DeformSteps& steps) {
  const DeformCall call = deform_call(input, weight, offset, center, mask, steps);
  if (bias) {
    check_device(*bias, call.device, "bias");
    check_dtype(*bias, input.scalar_type(), "bias");
    REFINEDET_CHECK(bias->dim() == 1 && bias->size(0) == call.out_channels, "bias: expected shape (", call.out_channels,
                    ",), got ", shape_of(*bias));
    bias = as_contiguous(*bias);
  }
#if defined(REFINEDET_WITH_CUDA)
  if (call.device.on_gpu()) {
    return deform_align_on_gpu(call, bias);
  }
#endif
  Tensor out = new_like_image(call.out_sizes(), call.dtype, call.channels_last);
  if (out.numel() == 0) {
    return out;
  }
  const ScalarType dtype = call.dtype;
  const ScalarType source = forward_source(call);
  const int64_t copied = call.channels_last && dtype == source ? 0 : element_size(source);
  // parts of an only group add up in the output, which half types would round every time
  const DeformPlan plan =
      deform_plan(call, source, copied, /*divisible=*/dtype == call.compute && element_size(dtype) >= 4);
  for (const ChannelBlock& block : plan.blocks) {
    const bool add = call.groups == 1 && block.channel > 0;
    DeformBlock work(call, plan, block, add ? std::nullopt : bias);
    for_image_steps(call, plan, [&](int64_t image, int64_t images) {
      work.load_images(image, images);
      for_tiles(call, plan, image, images, [&](const TileRange& range) {
        work.locate(range);
        cpu::deform_columns({work.tile()}, torch_threads());
        work.to_product();
        const auto there =
            rows_in_place(out, call.channels_last, range, work.first_output(), call.compute, /*planes=*/true);
        const PixelRows rows = there ? *there : work.scratch_rows();
        multiply(work.columns(), work.weights().transposed(), work.out_rows(rows), call.compute, call.device,
                 add && there);
        if (!there) {
          write_rows(rows, call.compute, out, call.channels_last, range, work.first_output(), work.outputs(), add,
                     false);
        }
        if (bias && !add && work.in_place()) {
          add_bias(work, *bias, out, call.channels_last, range);
        }
      });
    });
  }
  return out;
}

Tensor deform_align(const Tensor& input, const Tensor& weight, std::optional<Tensor> offset,
                    std::optional<Tensor> center, std::optional<Tensor> mask, std::optional<Tensor> bias,
                    std::vector<int64_t> stride, std::vector<int64_t> padding, std::vector<int64_t> dilation) {
  return forward(input, weight, offset, center, mask, bias, deform_steps(stride, padding, dilation));
}

// The same for calls without gradients: integers cost a short call less than lists of them.
Tensor deform_align_forward(const Tensor& input, const Tensor& weight, std::optional<Tensor> offset,
                            std::optional<Tensor> center, std::optional<Tensor> mask, std::optional<Tensor> bias,
                            int64_t stride_y, int64_t stride_x, int64_t pad_y, int64_t pad_x, int64_t dilation_y,
                            int64_t dilation_x) {
  return forward(input, weight, offset, center, mask, bias,
                 {{stride_y, stride_x}, {pad_y, pad_x}, {dilation_y, dilation_x}});
}

}  // namespace

STABLE_TORCH_LIBRARY_FRAGMENT(REFINEDET_LIBRARY, m) {
  m.def(
      "deform_align(Tensor input, Tensor weight, Tensor? offset, Tensor? center, Tensor? mask, Tensor? bias, "
      "int[] stride, int[] padding, int[] dilation) -> Tensor");
  m.def(
      "_deform_align_forward(Tensor input, Tensor weight, Tensor? offset, Tensor? center, Tensor? mask, Tensor? bias, "
      "int stride_y=1, int stride_x=1, int pad_y=0, int pad_x=0, int dilation_y=1, int dilation_x=1) -> Tensor");
}

REFINEDET_KERNELS(m) {
  m.impl("deform_align", TORCH_BOX(&deform_align));
  m.impl("_deform_align_forward", TORCH_BOX(&deform_align_forward));
}

}  // namespace refinedet::torch_ops
