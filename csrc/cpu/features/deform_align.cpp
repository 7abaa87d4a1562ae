#include "ops/deform_align.h"

#include <algorithm>

#include "copy_matrices.h"
#include "deform_block.h"

namespace refinedet::cpu {
namespace {

// out += bias for a tile of a block's output channels.
void add_bias(const DeformBlock& work, const void* bias, const Matrix& out, const ParallelFor& parallel) {
  Matrix values = out;
  values.data = element(bias, work.first_output(), out.dtype);
  values.matrix_stride = values.row_stride = 0;
  values.column_stride = 1;
  copy_matrices({.from = values, .to = out, .add = true, .overflow = false}, parallel);
}

// A gradient of offset, center or mask: summed in the accumulate type, where it belongs if it has that type.
class MapGrad {
 public:
  MapGrad(const DeformCall& call, const DeformMapOut& out, int64_t per_tap, const ParallelFor& parallel)
      : out_(out), dtype_(call.accumulate) {
    if (out.data == nullptr) {
      return;
    }
    size_ = call.shape.batch * call.shape.geometry.offset_groups * per_tap * call.out_pixels();
    if (out.dtype != dtype_) {
      sum_.emplace(size_ * element_size(dtype_), "the gradients of offset, center and mask");
    }
    clear(data(), size_ * element_size(dtype_), parallel);
  }
  void* data() const { return sum_ ? sum_->data() : out_.data; }
  void write() const {
    if (sum_) {
      round_values(data(), dtype_, out_.data, out_.dtype, size_);
    }
  }

 private:
  DeformMapOut out_;
  DType dtype_;
  int64_t size_ = 0;
  std::optional<Scratch> sum_;
};

// The input's gradient of a block, summed channels last: where it belongs if that is so, else beside it.
class InputGrad {
 public:
  InputGrad(const DeformCall& call, const DeformPlan& plan, const ChannelBlock& block, void* grad_input,
            const ParallelFor& parallel)
      : call_(call), block_(block), grad_input_(call.input_like(grad_input)), parallel_(parallel) {
    if (!is_direct(call)) {
      sum_.emplace(plan.images * call.in_pixels() * block.channels * element_size(call.accumulate),
                   "the sums of the input's gradient");
    }
  }
  static bool is_direct(const DeformCall& call) {
    return call.shape.channels_last && call.shape.dtype == call.accumulate;
  }

  // grad_input must be zero where it is summed in place.
  void begin(const PixelTile& images) {
    images_ = images;
    if (!sum_) {
      rows_ = there();
    } else {
      clear(sum_->data(), images.rows() * block_.channels * element_size(call_.accumulate), parallel_);
      rows_ = packed_rows(sum_->data(), call_.accumulate, images, block_.channels);
    }
  }
  void add_tile(const DeformTile& tile) const {
    deform_grad_source({tile, rows_.data, rows_.matrix_stride, rows_.row_stride}, parallel_);
  }
  void end() const {
    if (sum_) {
      round_matrix(rows_, there(), parallel_);
    }
  }

 private:
  Matrix there() const { return grad_input_.matrix(images_, block_.channel, block_.channels); }

  const DeformCall& call_;
  const ChannelBlock& block_;
  FeatureMaps grad_input_;
  const ParallelFor& parallel_;
  std::optional<Scratch> sum_;
  Matrix rows_{};
  PixelTile images_{};
};

WeightGrad::Layout weight_grad_layout(const DeformCall& call, const DeformPlan& plan, const ChannelBlock& block,
                                      const DeformBlock& work, void* grad_weight) {
  const int64_t outputs = call.shape.group_outputs(), depth = call.taps() * block.group_channels();
  const bool one_tile = plan.images >= call.shape.batch && plan.rows >= call.shape.batch * call.out_pixels();
  return {.product = {nullptr, call.compute, block.groups, outputs, depth, outputs * depth, depth, 1},
          .result = weight_matrices(grad_weight, call, block),
          .same_order = work.in_place(),
          .apart = !one_tile && call.compute != call.accumulate};
}

}  // namespace

void deform_align(const DeformAlignArgs& args, const ParallelFor& parallel, const Gemm& gemm_in) {
  const Gemm gemm = with_tiny_products(gemm_in);
  const DeformCall call = deform_call(args);
  const DType dtype = args.shape.dtype, source = forward_source(call);
  const FeatureMaps out = call.output_like(args.out, args.shape.channels_last);
  const int64_t copied = args.shape.channels_last && dtype == source ? 0 : element_size(source);
  // parts of an only group add up in the output, which half types would round every time
  const bool divisible = dtype == call.compute && element_size(dtype) >= 4;
  const DeformPlan plan = deform_plan(call, source, copied, divisible);
  for (const ChannelBlock& block : plan.blocks) {
    const bool add = args.shape.groups == 1 && block.channel > 0;
    DeformBlock work(call, plan, block, add ? nullptr : args.bias, parallel);
    plan.for_image_steps(call, [&](const PixelTile& images) {
      work.load_images(images);
      plan.for_tiles(call, images, [&](const PixelTile& tile) {
        work.locate(tile);
        deform_columns({work.tile()}, parallel);
        work.to_product();
        const Matrix result = out.matrix(tile, work.first_output(), work.outputs());
        const auto there = rows_in_place(out, tile, work.first_output(), work.outputs(), call.compute, /*planes=*/true);
        const Matrix rows = there ? *there : work.scratch_rows();
        const Matrix weights = work.weights().transposed();
        if (there && add) {
          gemm.add(work.columns(), weights, work.by_group(rows));
        } else {
          gemm.write(work.columns(), weights, work.by_group(rows));
        }
        if (!there) {
          copy_matrices({.from = rows, .to = result, .add = add, .overflow = false}, parallel);
        }
        if (args.bias != nullptr && !add && work.in_place()) {
          add_bias(work, args.bias, result, parallel);
        }
      });
    });
  }
}

void deform_align_backward(const DeformAlignBackwardArgs& args, const ParallelFor& parallel, const Gemm& gemm_in) {
  const Gemm gemm = with_tiny_products(gemm_in);
  const DeformCall call = deform_call(args);
  const bool want_input = args.grad_input != nullptr, want_weight = args.grad_weight != nullptr;
  const bool direct = InputGrad::is_direct(call);
  const FeatureMaps grad = call.output_like(args.grad, args.grad_channels_last);
  const MapGrad offset(call, args.grad_offset, 2 * call.taps(), parallel), center(call, args.grad_center, 2, parallel),
      mask(call, args.grad_mask, call.taps(), parallel);
  if (want_input && direct) {
    clear(args.grad_input, args.shape.batch * args.shape.channels * call.in_pixels() * element_size(args.shape.dtype),
          parallel);
  }
  const int64_t copied =
      (args.shape.channels_last && args.shape.dtype == call.compute ? 0 : element_size(call.compute)) +
      (want_input && !direct ? element_size(call.accumulate) : 0);
  const DeformPlan plan = deform_plan(call, call.compute, copied, /*divisible=*/true);
  for (const ChannelBlock& block : plan.blocks) {
    DeformBlock work(call, plan, block, /*bias=*/nullptr, parallel);
    std::optional<WeightGrad> weight;
    if (want_weight) {
      weight.emplace(weight_grad_layout(call, plan, block, work, args.grad_weight));
    }
    std::optional<InputGrad> input;
    if (want_input) {
      input.emplace(call, plan, block, args.grad_input, parallel);
    }
    plan.for_image_steps(call, [&](const PixelTile& images) {
      work.load_images(images);
      if (input) {
        input->begin(images);
      }
      plan.for_tiles(call, images, [&](const PixelTile& tile) {
        work.locate(tile);
        const auto there =
            rows_in_place(grad, tile, work.first_output(), work.outputs(), call.compute, /*planes=*/true);
        const bool samples = input || args.wants_samples();
        // planes serve the weights' gradient as they are; the columns' takes less time from rows, with the copy in it
        const bool copies = !there || (samples && there->column_stride != 1);
        const Matrix rows = copies ? work.scratch_rows() : *there;
        if (copies) {
          const Matrix from = grad.matrix(tile, work.first_output(), work.outputs());
          copy_matrices({.from = from, .to = rows, .add = false, .overflow = false}, parallel);
        }
        if (samples) {
          gemm.write(work.by_group(rows), work.weights(), work.columns());  // the columns' gradient
          work.from_product();
        }
        if (input) {
          input->add_tile(work.tile());
        }
        if (args.wants_samples()) {
          deform_grad_samples({.tile = work.tile(),
                               .replace = want_weight,
                               .grad_offset = offset.data(),
                               .grad_center = center.data(),
                               .grad_mask = mask.data()},
                              parallel);
        } else if (weight) {
          deform_columns({work.tile()}, parallel);
        }
        if (weight) {
          work.to_product();
          weight->add_tile(work.by_group(there ? *there : rows).transposed(), work.columns(), gemm, parallel);
        }
      });
      if (input) {
        input->end();
      }
    });
    if (weight) {
      weight->write(parallel);
    }
  }
  for (const MapGrad* map : {&offset, &center, &mask}) {
    map->write();
  }
}

}  // namespace refinedet::cpu
