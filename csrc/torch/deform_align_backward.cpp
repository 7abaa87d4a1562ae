#include <cstring>

#include "deform_align.h"
#include "deform_align_cuda.h"

namespace refinedet::torch_ops {
namespace {

// A gradient that is summed in the sampling dtype and handed out in the dtype of what it belongs to.
class MapGrad {
 public:
  MapGrad(const DeformCall& call, const std::optional<Tensor>& map, bool wanted) {
    if (wanted) {
      dtype_ = map->scalar_type();
      sum_ = torch::stable::fill_(new_tensor(sizes_of(*map), call.sampling), 0);
    }
  }
  void* data() const { return sum_ ? sum_->mutable_data_ptr() : nullptr; }
  Tensor result() const {
    if (!sum_) {
      return new_tensor({0}, ScalarType::Float);
    }
    return sum_->scalar_type() == dtype_ ? *sum_ : torch::stable::to(*sum_, dtype_);
  }

 private:
  std::optional<Tensor> sum_;
  ScalarType dtype_ = ScalarType::Float;
};

// The weights' gradient of a block, summed over tiles in the order of the block's columns: by the products themselves,
// in the tensor if that is its order; of several tiles in bfloat16, whose products are rounded, beside them in float32.
class WeightGrad {
 public:
  WeightGrad(const DeformCall& call, const DeformPlan& plan, const ChannelBlock& block, const DeformBlock& work,
             const Tensor& grad_weight)
      : call_(call),
        block_(block),
        in_place_(work.in_place()),
        outputs_(call.out_channels / call.groups),
        depth_(call.taps() * block.group_channels()),
        to_(weight_layout(grad_weight, call, block)) {
    const bool one_tile = plan.images >= call.batch && plan.rows >= call.batch * call.out_pixels();
    const bool beside = !one_tile && call.compute != call.sampling;
    const int64_t size = block.groups * outputs_ * depth_;
    if (beside || !in_place_) {
      product_.emplace(size * element_size(call.compute));
    }
    if (beside) {
      sum_.emplace(size * element_size(call.sampling));
    }
  }

  // grad: (rows, output channels) per group; columns: (rows, depth).
  void add_tile(const Matrices& grad, const Matrices& columns) {
    void* const data = product_ ? product_->data() : to_.data;
    multiply(grad.transposed(), columns, {data, block_.groups, outputs_, depth_, outputs_ * depth_, depth_, 1},
             call_.compute, call_.device, /*add=*/!first_ && !sum_);
    if (sum_) {
      copy(product_->data(), call_.compute, {sum_->data(), kernel_dtype(call_.sampling), 0, depth_, 1},
           /*add=*/!first_);
    }
    first_ = false;
  }

  void write() const {
    if (!product_) {
      return;
    }
    const char* from = sum_ ? sum_->data() : product_->data();
    const ScalarType dtype = sum_ ? call_.sampling : call_.compute;
    if (in_place_) {
      return copy(from, dtype, {to_.data, to_.dtype, 0, depth_, 1}, /*add=*/false);
    }
    cpu::copy_matrices({{from, kernel_dtype(dtype), depth_, block_.group_channels(), 1},
                        to_,
                        block_.groups * outputs_,
                        call_.taps(),
                        block_.group_channels(),
                        /*add=*/false,
                        /*overflow=*/true},
                       torch_threads());
  }

 private:
  void copy(const char* from, ScalarType dtype, const cpu::MatrixLayout<void>& to, bool add) const {
    cpu::copy_matrices({{from, kernel_dtype(dtype), 0, depth_, 1},
                        to,
                        1,
                        block_.groups * outputs_,
                        depth_,
                        add,
                        /*overflow=*/true},
                       torch_threads());
  }

  const DeformCall& call_;
  const ChannelBlock& block_;
  bool in_place_, first_ = true;
  int64_t outputs_, depth_;
  cpu::MatrixLayout<void> to_;
  std::optional<ScratchMemory> product_, sum_;
};

// The input's gradient of a block, summed channels last: where it belongs if that is so, else beside it.
class InputGrad {
 public:
  InputGrad(const DeformCall& call, const DeformPlan& plan, const ChannelBlock& block, const Tensor& grad_input)
      : call_(call), block_(block), grad_input_(grad_input), direct_(is_direct(call)) {
    if (!direct_) {
      sum_.emplace(plan.images * call.geometry.in_pixels() * block.channels * element_size(call.sampling));
    }
  }
  static bool is_direct(const DeformCall& call) { return call.channels_last && call.dtype == call.sampling; }

  // grad_input must be zero where it is summed in place.
  void begin(int64_t image, int64_t images) {
    images_ = {image, images, 0, call_.geometry.in_pixels()};
    if (direct_) {
      rows_ = *rows_in_place(grad_input_, true, images_, block_.channel, call_.sampling, false);
    } else {
      const int64_t bytes = images_.rows() * block_.channels * element_size(call_.sampling);
      std::memset(sum_->data(), 0, static_cast<size_t>(bytes));
      rows_ = packed_rows(sum_->data(), images_, block_.channels);
    }
  }
  void add_tile(const DeformTile& tile) const {
    cpu::deform_grad_source({tile, rows_.data, rows_.image_stride, rows_.row_stride}, torch_threads());
  }
  void end() const {
    if (!direct_) {
      write_rows(rows_, call_.sampling, grad_input_, call_.channels_last, images_, block_.channel, block_.channels,
                 false,
                 /*overflow=*/true);
    }
  }

 private:
  const DeformCall& call_;
  const ChannelBlock& block_;
  const Tensor& grad_input_;
  bool direct_;
  std::optional<ScratchMemory> sum_;
  PixelRows rows_{};
  TileRange images_{};
};

struct Gradients {
  bool want_input, want_weight;
  Tensor input, weight;
  MapGrad offset, center, mask;

  bool want_samples() const { return offset.data() || center.data() || mask.data(); }
};

struct IncomingGrad {
  Tensor tensor;  // contiguous or channels last
  bool channels_last;
};

void add_block(const DeformCall& call, const DeformPlan& plan, const ChannelBlock& block, const IncomingGrad& grad,
               Gradients& grads) {
  DeformBlock work(call, plan, block, std::nullopt);
  std::optional<WeightGrad> weight;
  if (grads.want_weight) {
    weight.emplace(call, plan, block, work, grads.weight);
  }
  std::optional<InputGrad> input;
  if (grads.want_input) {
    input.emplace(call, plan, block, grads.input);
  }
  for_image_steps(call, plan, [&](int64_t image, int64_t images) {
    work.load_images(image, images);
    if (input) {
      input->begin(image, images);
    }
    for_tiles(call, plan, image, images, [&](const TileRange& range) {
      work.locate(range);
      const auto there =
          rows_in_place(grad.tensor, grad.channels_last, range, work.first_output(), call.compute, /*planes=*/true);
      const bool samples = input || grads.want_samples();
      // planes serve the weights' gradient as they are; the columns' takes less time from rows, with the copy in it
      const bool copies = !there || (samples && there->channel_stride != 1);
      const PixelRows rows = copies ? work.scratch_rows() : *there;
      if (copies) {
        read_rows(grad.tensor, grad.channels_last, range, work.first_output(), work.outputs(), call.compute, rows);
      }
      if (samples) {
        multiply(work.out_rows(rows), work.weights(), work.columns(), call.compute);  // the columns' gradient
        work.from_product();
      }
      if (input) {
        input->add_tile(work.tile());
      }
      if (grads.want_samples()) {
        cpu::deform_grad_samples(
            {work.tile(), /*replace=*/weight.has_value(), grads.offset.data(), grads.center.data(), grads.mask.data()},
            torch_threads());
      } else if (weight) {
        cpu::deform_columns({work.tile()}, torch_threads());
      }
      if (weight) {
        work.to_product();
        weight->add_tile(work.out_rows(there ? *there : rows), work.columns());
      }
    });
    if (input) {
      input->end();
    }
  });
  if (weight) {
    weight->write();
  }
}

DeformGradients gradients_on_cpu(const DeformCall& call, const Tensor& grad_out, bool grad_channels_last,
                                 const std::vector<bool>& wanted) {
  const ScalarType dtype = call.dtype;
  const std::vector<int64_t> none{0};
  const bool want_input = wanted[0], want_weight = wanted[1];
  Gradients grads{
      want_input,
      want_weight,
      want_input ? new_like_image(sizes_of(call.input), dtype, call.channels_last) : new_tensor(none, dtype),
      want_weight ? new_like_image(sizes_of(call.weight), dtype, call.weight_channels_last) : new_tensor(none, dtype),
      {call, call.offset, wanted[2]},
      {call, call.center, wanted[3]},
      {call, call.mask, wanted[4]}};
  const IncomingGrad grad{grad_out, grad_channels_last};
  const bool empty = grad.tensor.numel() == 0;
  if (empty || InputGrad::is_direct(call)) {
    torch::stable::fill_(grads.input, 0);
  }
  if (empty) {
    torch::stable::fill_(grads.weight, 0);
  } else if (want_input || want_weight || grads.want_samples()) {
    const int64_t copied = (call.channels_last && dtype == call.compute ? 0 : element_size(call.compute)) +
                           (want_input && !InputGrad::is_direct(call) ? element_size(call.sampling) : 0);
    const DeformPlan plan = deform_plan(call, call.compute, copied, /*divisible=*/true);
    for (const ChannelBlock& block : plan.blocks) {
      add_block(call, plan, block, grad, grads);
    }
  }
  return {grads.input, grads.weight, grads.offset.result(), grads.center.result(), grads.mask.result()};
}

// Gradients of input, weight, offset, center, mask and bias; those that output_mask does not want have no elements.
// `deterministic` is for the GPU: on the CPU sums have one order anyway.
std::tuple<Tensor, Tensor, Tensor, Tensor, Tensor, Tensor> deform_align_backward(
    const Tensor& grad_in, const Tensor& input, const Tensor& weight, std::optional<Tensor> offset,
    std::optional<Tensor> center, std::optional<Tensor> mask, std::vector<int64_t> stride, std::vector<int64_t> padding,
    std::vector<int64_t> dilation, std::vector<bool> output_mask, [[maybe_unused]] bool deterministic) {
  const DeformCall call = deform_call(input, weight, offset, center, mask, deform_steps(stride, padding, dilation));
  check_device(grad_in, call.device, "grad");
  check_dtype(grad_in, input.scalar_type(), "grad");
  REFINEDET_CHECK(sizes_of(grad_in) == call.out_sizes(), "grad: expected the shape of the output, got ",
                  shape_of(grad_in));
  REFINEDET_CHECK(output_mask.size() == 6, "output_mask: expected 6 values, got ", output_mask.size());
  const bool given[3] = {offset.has_value(), center.has_value(), mask.has_value()};
  for (int i = 0; i < 3; ++i) {
    REFINEDET_CHECK(given[i] || !output_mask[2 + i],
                    "output_mask: a gradient is wanted of an argument that was not given");
  }
  const bool channels_last = is_channels_last(grad_in);
  const Tensor grad = channels_last ? grad_in : torch::stable::contiguous(grad_in);
  Tensor grad_bias = new_tensor({0}, input.scalar_type(), call.device);
  if (output_mask[5]) {
    const std::array<int64_t, 3> dims{0, 2, 3};
    grad_bias = torch::stable::sum(grad, dims);
  }
#if defined(REFINEDET_WITH_CUDA)
  const DeformGradients grads = call.device.on_gpu()
                                    ? gradients_on_gpu(call, grad, channels_last, output_mask, deterministic)
                                    : gradients_on_cpu(call, grad, channels_last, output_mask);
#else
  const DeformGradients grads = gradients_on_cpu(call, grad, channels_last, output_mask);
#endif
  return {grads.input, grads.weight, grads.offset, grads.center, grads.mask, grad_bias};
}

}  // namespace

STABLE_TORCH_LIBRARY_FRAGMENT(REFINEDET_LIBRARY, m) {
  m.def(
      "_deform_align_backward(Tensor grad, Tensor input, Tensor weight, Tensor? offset, Tensor? center, Tensor? mask, "
      "int[] stride, int[] padding, int[] dilation, bool[] output_mask, "
      "bool deterministic=False) -> (Tensor, Tensor, Tensor, Tensor, Tensor, Tensor)");
}

REFINEDET_KERNELS(m) { m.impl("_deform_align_backward", TORCH_BOX(&deform_align_backward)); }

}  // namespace refinedet::torch_ops
