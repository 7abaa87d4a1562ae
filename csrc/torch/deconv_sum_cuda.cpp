#include "deconv_sum_cuda.h"

#if defined(REFINEDET_WITH_CUDA)
#include <algorithm>

#include "cuda/features/deconv_sum.h"

namespace refinedet::torch_ops {
namespace {

// Columns at a time: so few that they stay in the L2 of a large GPU between the product and the maps, so many that the
// product fills all of it several times over.
constexpr int64_t kTileBytes = 32 << 20;

// input (pixels, Ci) x weight (Ci, 4 Co) = columns (pixels, 4 Co) for one tile after the other: whole images, or lines
// of one where its columns alone are too many. Channels-last the pixels of a tile are one matrix, else each image's are
// one of a batch of matrices; that each channel's pixels then lie side by side only the strides know.
class GpuProduct {
 public:
  GpuProduct(const Tensor& input, const Tensor& weight, const Tensor& maps, bool channels_last)
      : type_(input.scalar_type()),
        device_(device_of(input, "input")),
        input_(ordered(input, type_, channels_last)),
        weight_(ordered(weight, type_, channels_last && is_channels_last(weight))),
        batch_(input.size(0)),
        in_channels_(input.size(1)) {
    tile_ = no_lines(input, weight_, maps, channels_last);
    const int64_t height = std::max<int64_t>(1, tile_.in_height);
    const int64_t line_bytes = 4 * tile_.channels * tile_.in_width * static_cast<int64_t>(input.element_size());
    const int64_t lines = std::max<int64_t>(1, kTileBytes / std::max<int64_t>(1, line_bytes));
    tile_lines_ = lines < height ? lines : std::min(batch_, lines / height) * height;
    columns_ = new_tensor({4 * tile_.channels * tile_lines_ * tile_.in_width}, type_, device_);
  }

  // Goes on to the next tile; false after the last.
  bool next() {
    tile_.first_line += tile_.lines;
    tile_.lines = std::min(tile_lines_, lines() - tile_.first_line);
    if (tile_lines_ < tile_.in_height) {
      tile_.lines = std::min(tile_.lines, tile_.in_height - tile_.first_line % tile_.in_height);
    }
    return tile_.lines * tile_.in_width > 0;
  }
  bool first() const { return tile_.first_line == 0; }
  bool last() const { return tile_.first_line + tile_.lines == lines(); }

  const DeconvSumTile& tile() const { return tile_; }
  void* columns_data() const { return columns_.mutable_data_ptr(); }

  void write_columns() const { multiply(input(input_), weight(), columns()); }

  void write_grad_input(const Tensor& grad_input) const {
    multiply(columns(), transposed(weight()), input(grad_input));
  }

  // The matrices (Ci, 4 Co) of which a tile's part of the weight's gradient is the sum; the most of them in a tile.
  int64_t terms() const { return images(tile_.lines); }
  int64_t most_terms() const { return images(tile_lines_); }
  bool one_term() const { return tile_lines_ == lines() && most_terms() == 1; }
  void write_grad_weight(const Tensor& memory) const {
    const int64_t n = 4 * tile_.channels;
    multiply(transposed(input(input_)), columns(),
             matrices(memory, 0, terms(), in_channels_, n, in_channels_ * n, n, 1));
  }

 private:
  int64_t lines() const { return batch_ * tile_.in_height; }
  int64_t images(int64_t lines) const {
    return tile_.channels_last ? 1 : std::max<int64_t>(1, lines / std::max<int64_t>(1, tile_.in_height));
  }
  int64_t pixels() const { return tile_.lines * tile_.in_width / terms(); }  // of a matrix

  static Tensor transposed(const Tensor& t) { return torch::stable::transpose(t, t.dim() - 2, t.dim() - 1); }

  Tensor matrices(const Tensor& memory, int64_t first, int64_t count, int64_t rows, int64_t columns, int64_t step,
                  int64_t row_step, int64_t column_step) const {
    const char* data =
        static_cast<const char*>(memory.const_data_ptr()) + first * static_cast<int64_t>(memory.element_size());
    return count == 1 ? view_of(data, {rows, columns}, {row_step, column_step}, type_, device_)
                      : view_of(data, {count, rows, columns}, {step, row_step, column_step}, type_, device_);
  }

  // Of maps of the input's shape.
  Tensor input(const Tensor& maps) const {
    const int64_t line = tile_.first_line, height = tile_.in_height, width = tile_.in_width, plane = height * width;
    if (tile_.channels_last) {
      return matrices(maps, line * width * in_channels_, 1, pixels(), in_channels_, 0, in_channels_, 1);
    }
    return matrices(maps, line / height * in_channels_ * plane + line % height * width, terms(), pixels(), in_channels_,
                    in_channels_ * plane, 1, plane);
  }

  Tensor columns() const {
    const int64_t n = 4 * tile_.channels;
    return tile_.channels_last ? matrices(columns_, 0, 1, pixels(), n, 0, n, 1)
                               : matrices(columns_, 0, terms(), pixels(), n, n * pixels(), 1, pixels());
  }

  Tensor weight() const {
    const int64_t n = 4 * tile_.channels;
    return matrices(weight_, 0, terms(), in_channels_, n, 0, n, 1);
  }

  DeconvSumTile tile_{};
  ScalarType type_;
  Device device_;
  Tensor input_, weight_, columns_;
  int64_t batch_, in_channels_;
  int64_t tile_lines_ = 0;
};

// The sum over tiles and images of the weight's gradient, of half types in float32.
class GradWeight {
 public:
  GradWeight(const GpuProduct& product, const Tensor& weight, Device device)
      : result_(new_maps(sizes_of(weight), weight.scalar_type(), !product.tile().taps_inner, device)) {
    if (!product.one_term()) {
      const ScalarType wide = weight.scalar_type() == ScalarType::Double ? ScalarType::Double : ScalarType::Float;
      terms_ = new_tensor({product.most_terms() * weight.numel()}, weight.scalar_type(), device);
      sum_ = new_tensor({weight.numel()}, wide, device);
    }
  }

  void add(const GpuProduct& product, Device device) {
    product.write_grad_weight(terms_.has_value() ? *terms_ : result_);
    if (terms_.has_value()) {
      cuda::DeconvSumAddArgs args{product.tile().dtype, terms_->const_data_ptr(), product.terms(), result_.numel(),
                                  product.first(),      sum_->mutable_data_ptr(), nullptr};
      args.result = product.last() ? result_.mutable_data_ptr() : nullptr;
      cuda::deconv_sum_add(args, CudaScope(device).stream());
    }
  }

  Tensor& result() { return result_; }

 private:
  Tensor result_;
  std::optional<Tensor> terms_, sum_;
};

Tensor sum_of_channels(const Tensor& maps, bool channels_last, Device device) {
  Tensor result = new_tensor({maps.size(1)}, maps.scalar_type(), device);
  const cuda::DeconvSumBiasArgs args{dtype_of(maps, "grad"),
                                     channels_last,
                                     maps.size(0),
                                     maps.size(1),
                                     maps.size(2) * maps.size(3),
                                     maps.const_data_ptr(),
                                     result.mutable_data_ptr()};
  Tensor workspace = new_tensor({cuda::deconv_sum_bias_workspace(args)}, ScalarType::Byte, device);
  cuda::deconv_sum_bias(args, workspace.mutable_data_ptr(), CudaScope(device).stream());
  return result;
}

}  // namespace

Tensor deconv_sum_on_gpu(const Tensor& input, const Tensor& weight, const std::optional<Tensor>& bias,
                         const Tensor& lateral, bool relu, bool channels_last) {
  const Device device = device_of(input, "input");
  Tensor out = new_maps(sizes_of(lateral), input.scalar_type(), channels_last, device);
  GpuProduct product(input, weight, lateral, channels_last);
  DeconvSumArgs args{};
  args.columns = product.columns_data();
  args.bias = bias.has_value() ? bias->const_data_ptr() : nullptr;
  args.lateral = lateral.const_data_ptr();
  args.relu = relu;
  args.out = out.mutable_data_ptr();
  while (product.next()) {
    product.write_columns();
    args.tile = product.tile();
    cuda::deconv_sum_scatter(args, CudaScope(device).stream());
  }
  return out;
}

DeconvSumGrads deconv_sum_backward_on_gpu(const Tensor& grad, const Tensor& input, const Tensor& weight,
                                          const std::optional<Tensor>& out, bool need_input, bool need_weight,
                                          bool need_bias, bool channels_last) {
  const Device device = device_of(input, "input");
  const ScalarType dtype = input.scalar_type();
  DeconvSumGrads grads;
  GpuProduct product(input, weight, grad, channels_last);
  DeconvSumBackwardArgs args{};
  args.grad = grad.const_data_ptr();
  if (out.has_value()) {
    grads.lateral = new_maps(sizes_of(grad), dtype, channels_last, device);
    args.out = out->const_data_ptr();
    args.grad_lateral = grads.lateral->mutable_data_ptr();
  }
  std::optional<GradWeight> grad_weight;
  if (need_weight) {
    grad_weight.emplace(product, weight, device);
  }
  if (need_input) {
    grads.input = new_maps(sizes_of(input), dtype, channels_last, device);
  }
  args.columns = need_input || need_weight ? product.columns_data() : nullptr;
  bool any = false;
  while ((args.columns != nullptr || out.has_value()) && product.next()) {
    any = true;
    args.tile = product.tile();
    cuda::deconv_sum_gather(args, CudaScope(device).stream());
    if (need_weight) {
      grad_weight->add(product, device);
    }
    if (need_input) {
      product.write_grad_input(*grads.input);
    }
  }
  if (need_weight) {
    grads.weight = grad_weight->result();
    if (!any) {
      torch::stable::zero_(*grads.weight);
    }
  }
  if (need_bias) {
    grads.bias = sum_of_channels(out.has_value() ? *grads.lateral : grad, channels_last, device);
  }
  return grads;
}

}  // namespace refinedet::torch_ops
#endif
