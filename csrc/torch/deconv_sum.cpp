#include "ops/deconv_sum.h"

#include "as_contiguous.h"
#include "deconv_sum_cuda.h"
#include "deconv_sum_product.h"

namespace refinedet::torch_ops {
namespace {

// `maps` are the lateral map, or something of its shape: (B, Co, h, w).
void check_maps(const Tensor& input, const Tensor& weight, const Tensor& maps, const char* name) {
  check_device(maps, device_of(input, "input"), name);
  check_dtype(maps, input.scalar_type(), name);
  const auto doubles = [](int64_t fine, int64_t coarse) { return fine == 2 * coarse || fine == 2 * coarse - 1; };
  REFINEDET_CHECK(maps.dim() == 4 && maps.size(0) == input.size(0) && maps.size(1) == weight.size(1) &&
                      maps.size(2) >= 0 && doubles(maps.size(2), input.size(2)) && doubles(maps.size(3), input.size(3)),
                  name, ": expected shape (", input.size(0), ", ", weight.size(1), ", ", 2 * input.size(2),
                  " or one less, ", 2 * input.size(3), " or one less), got ", shape_of(maps));
}

void check_operands(const Tensor& input, const Tensor& weight) {
  check_device(weight, device_of(input, "input"), "weight");
  dtype_of(input, "input");
  check_dtype(weight, input.scalar_type(), "weight");
  REFINEDET_CHECK(input.dim() == 4, "input: expected shape (B, Ci, H, W), got ", shape_of(input));
  REFINEDET_CHECK(weight.dim() == 4 && weight.size(0) == input.size(1) && weight.size(2) == 2 && weight.size(3) == 2,
                  "weight: expected shape (", input.size(1), ", Co, 2, 2), got ", shape_of(weight));
}

// Some tiles, one after the other.
void sum_tiles(DeconvSumProduct& product, const DeconvSumArgs& all, int64_t element_size, int64_t begin, int64_t end,
               const ParallelFor& parallel) {
  const auto further = [](const void* p, int64_t bytes) {
    return p == nullptr ? nullptr : static_cast<const char*>(p) + bytes;
  };
  for (int64_t i = begin; i < end; ++i) {
    product.go_to(i);
    multiply(product.input(), product.weight(), product.columns());
    DeconvSumArgs args = all;
    args.tile = product.tile();
    args.columns = product.columns_data();
    args.bias = further(all.bias, product.first_channel() * element_size);
    args.lateral = further(all.lateral, product.maps_offset() * element_size);
    args.out = static_cast<char*>(all.out) + product.maps_offset() * element_size;
    cpu::deconv_sum_scatter(args, parallel);
  }
}

// All tiles. Each thread has its own where that keeps all of them busy: they meet once, not twice per tile. Else they
// work together on one after the other.
void sum_tiles(DeconvSumProduct product, const DeconvSumArgs& args, int64_t element_size) {
  const int64_t tiles = product.tiles(), threads = static_cast<int64_t>(torch::stable::get_num_threads());
  if (threads == 1 || (tiles % threads != 0 && tiles < 4 * threads)) {
    return sum_tiles(product, args, element_size, 0, tiles, torch_threads());
  }
  torch::stable::parallel_for(0, tiles, 1, [&](int64_t begin, int64_t end) {
    DeconvSumProduct own = product.twin();
    sum_tiles(own, args, element_size, begin, end, ParallelFor(nullptr, nullptr, 1));
  });
}

Tensor deconv_sum(const Tensor& input, const Tensor& weight, const std::optional<Tensor>& bias_in,
                  const Tensor& lateral_in, bool relu) {
  check_operands(input, weight);
  check_maps(input, weight, lateral_in, "lateral");
  std::optional<Tensor> bias;
  if (bias_in.has_value()) {
    check_device(*bias_in, device_of(input, "input"), "bias");
    check_dtype(*bias_in, input.scalar_type(), "bias");
    REFINEDET_CHECK(bias_in->dim() == 1 && bias_in->size(0) == weight.size(1), "bias: expected shape (", weight.size(1),
                    ",), got ", shape_of(*bias_in));
    bias = as_contiguous(*bias_in);
  }
  const bool channels_last = is_channels_last(input) || is_channels_last(lateral_in);
  const Tensor lateral = ordered(lateral_in, input.scalar_type(), channels_last);
#if defined(REFINEDET_WITH_CUDA)
  if (device_of(input, "input").on_gpu()) {
    return deconv_sum_on_gpu(input, weight, bias, lateral, relu, channels_last);
  }
#endif
  Tensor out = new_maps(sizes_of(lateral), input.scalar_type(), channels_last);
  if (out.numel() == 0) {
    return out;
  }
  DeconvSumArgs args{};
  args.bias = bias.has_value() ? bias->const_data_ptr() : nullptr;
  args.lateral = lateral.const_data_ptr();
  args.relu = relu;
  args.out = out.mutable_data_ptr();
  sum_tiles(DeconvSumProduct(input, weight, lateral, channels_last, /*forward=*/true), args,
            static_cast<int64_t>(input.element_size()));
  return out;
}

// The sum over the tiles of (Ci, pixels) x (pixels, 4 Co). A half type's partial sums are added in float32.
class GradWeight {
 public:
  GradWeight(const DeconvSumProduct& product, const Tensor& weight) {
    const bool in_half = product.type() == ScalarType::BFloat16 && !product.one_tile();
    sum_ = new_maps(sizes_of(weight), in_half ? ScalarType::Float : product.type(), !product.tile().taps_inner);
    torch::stable::zero_(sum_);
    if (!product.one_tile()) {
      term_ = new_tensor(sizes_of(weight), product.type());
    }
  }

  // `grad_columns` (pixels, 4 Co) and the same pixels of the input.
  void add(const DeconvSumProduct& product, const Tensor& grad_columns) {
    const int64_t rows = sum_.size(0), columns = grad_columns.size(1);
    Tensor& target = started_ || sum_.scalar_type() != product.type() ? term_ : sum_;
    multiply(product.input_transposed(), grad_columns,
             view_of(target.const_data_ptr(), {rows, columns}, {columns, 1}, product.type()));
    if (&target == &term_) {
      cpu::deconv_sum_add({product.tile().dtype, term_.const_data_ptr(), sum_.mutable_data_ptr(), rows * columns},
                          torch_threads());
    }
    started_ = true;
  }

  const Tensor& sum() const { return sum_; }

 private:
  Tensor sum_, term_;
  bool started_ = false;
};

// The gradient of the bias from the sums over all pixels of each column's gradient.
Tensor sum_taps(const Tensor& sums, bool taps_inner, ScalarType dtype) {
  const int64_t channels = sums.numel() / 4, dim = taps_inner ? 1 : 0;
  const std::vector<int64_t> shape = taps_inner ? std::vector<int64_t>{channels, 4} : std::vector<int64_t>{4, channels};
  const Tensor sum =
      torch::stable::sum(torch::stable::view(sums, shape), torch::headeronly::IntHeaderOnlyArrayRef(&dim, 1));
  return torch::stable::to(sum, dtype);
}

// What was not asked for comes back as an empty tensor. Without `out` (there was no ReLU) `grad_lateral` is a copy of
// `grad`.
std::tuple<Tensor, Tensor, Tensor, Tensor> deconv_sum_backward(const Tensor& grad_in, const Tensor& input,
                                                               const Tensor& weight,
                                                               const std::optional<Tensor>& out_in, bool need_input,
                                                               bool need_weight, bool need_bias, bool need_lateral) {
  check_operands(input, weight);
  check_maps(input, weight, grad_in, "grad");
  if (out_in.has_value()) {
    check_maps(input, weight, *out_in, "out");
  }
  const ScalarType dtype = input.scalar_type();
  const bool channels_last = is_channels_last(input) || is_channels_last(out_in.value_or(grad_in));
  const Tensor grad = ordered(grad_in, dtype, channels_last);
  const bool relu = out_in.has_value();
  std::optional<Tensor> out;
  if (relu) {
    out = ordered(*out_in, dtype, channels_last);
  }
  const Device device = device_of(input, "input");
  const auto none = [&] { return new_tensor({0}, dtype, device); };
#if defined(REFINEDET_WITH_CUDA)
  if (device.on_gpu()) {
    const DeconvSumGrads grads =
        deconv_sum_backward_on_gpu(grad, input, weight, out, need_input, need_weight, need_bias, channels_last);
    return {grads.input.value_or(none()), grads.weight.value_or(none()), grads.bias.value_or(none()),
            !need_lateral ? none()
            : relu        ? *grads.lateral
                          : torch::stable::clone(grad)};
  }
#endif
  DeconvSumProduct product(input, weight, grad, channels_last);
  Tensor grad_input = need_input ? new_maps(sizes_of(input), product.type(), channels_last) : none();
  std::optional<GradWeight> grad_weight;
  if (need_weight) {
    grad_weight.emplace(product, weight);
  }
  Tensor sums = new_tensor({need_bias ? 4 * weight.size(1) : 0}, ScalarType::Double);
  torch::stable::zero_(sums);
  Tensor grad_lateral = relu ? new_maps(sizes_of(grad), dtype, channels_last) : grad;
  if (grad.numel() == 0) {
    torch::stable::zero_(grad_input);
  } else if (relu || need_input || need_weight || need_bias) {
    DeconvSumBackwardArgs args{};
    args.grad = grad.const_data_ptr();
    args.out = relu ? out->const_data_ptr() : nullptr;
    args.columns = product.columns_data();
    args.grad_lateral = relu ? grad_lateral.mutable_data_ptr() : nullptr;
    for (int64_t i = 0; i < product.tiles(); ++i) {
      product.go_to(i);
      args.tile = product.tile();
      cpu::deconv_sum_gather(args, torch_threads());
      const Tensor grad_columns = product.columns();
      if (need_bias) {
        cpu::deconv_sum_columns(
            {args.tile.dtype, args.columns, grad_columns.size(0), grad_columns.size(1), data<double>(sums)},
            torch_threads());
      }
      if (need_weight) {
        grad_weight->add(product, grad_columns);
      }
      if (need_input) {
        product.write_grad_input(grad_input);
      }
    }
  }
  return {need_input ? torch::stable::to(grad_input, dtype) : none(),
          need_weight ? torch::stable::to(grad_weight->sum(), dtype) : none(),
          need_bias ? sum_taps(sums, product.tile().taps_inner, dtype) : none(),
          !need_lateral ? none()
          : relu        ? grad_lateral
                        : torch::stable::clone(grad)};
}

}  // namespace

STABLE_TORCH_LIBRARY_FRAGMENT(REFINEDET_LIBRARY, m) {
  m.def("deconv_sum(Tensor input, Tensor weight, Tensor? bias, Tensor lateral, bool relu) -> Tensor");
  m.def(
      "_deconv_sum_backward(Tensor grad, Tensor input, Tensor weight, Tensor? out, bool need_input, bool need_weight, "
      "bool need_bias, bool need_lateral) -> (Tensor, Tensor, Tensor, Tensor)");
}

REFINEDET_KERNELS(m) {
  m.impl("deconv_sum", TORCH_BOX(&deconv_sum));
  m.impl("_deconv_sum_backward", TORCH_BOX(&deconv_sum_backward));
}

}  // namespace refinedet::torch_ops
