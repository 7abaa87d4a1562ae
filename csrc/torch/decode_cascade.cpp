#include "ops/decode_cascade.h"

#include "common.h"
#include "ops/cascade_checks.h"

namespace refinedet::torch_ops {
namespace {

using OptionalTensor = std::optional<Tensor>;

// The tensors of a call, contiguous; alive as long as the kernel reads them.
struct Inputs {
  Tensor arm_deltas, odm_deltas, anchors;
  OptionalTensor kept_index, kept_count;

  Inputs(const Tensor& arm, const Tensor& odm, const Tensor& anchors, const OptionalTensor& index,
         const OptionalTensor& count)
      : arm_deltas(as_contiguous(arm)), odm_deltas(as_contiguous(odm)), anchors(as_contiguous(anchors)) {
    REFINEDET_CHECK(index.has_value() == count.has_value(), "kept: expected both index and count, or neither");
    if (index.has_value()) {
      kept_index = as_contiguous(*index);
      kept_count = as_contiguous(*count);
    }
  }

  Device device() const { return device_of(arm_deltas, "arm_deltas"); }
  Tensor like() const { return new_tensor(arm_deltas.sizes(), arm_deltas.scalar_type(), device()); }

  DecodeCascadeArgs args(const std::vector<double>& variances) const {
    check_device(anchors, device(), "anchors");
    check_shape(arm_deltas, "arm_deltas", {"B", "A", 4});
    check_like(odm_deltas, "odm_deltas", arm_deltas, "arm_deltas");
    check_dtype(anchors, arm_deltas.scalar_type(), "anchors");
    const int64_t batch = arm_deltas.size(0), count = arm_deltas.size(1);
    const int64_t shared[] = {count, 4};
    REFINEDET_CHECK(anchors.sizes().equals(shared) || anchors.sizes().equals(arm_deltas.sizes()),
                    "anchors: expected shape (", count, ", 4) or ", shape_of(arm_deltas), ", got ", shape_of(anchors));
    DecodeCascadeArgs args{};
    args.dtype = dtype_of(arm_deltas, "arm_deltas");
    args.arm_deltas = arm_deltas.const_data_ptr();
    args.odm_deltas = odm_deltas.const_data_ptr();
    args.anchors = anchors.const_data_ptr();
    args.shared_anchors = anchors.dim() == 2;
    args.batch = batch;
    args.count = count;
    take_variances(variances, args);
    if (kept_index.has_value()) {
      check_tensor(*kept_index, "kept.index", device(), ScalarType::Long, {batch, count});
      check_tensor(*kept_count, "kept.count", device(), ScalarType::Long, {batch});
      args.kept_index = const_data<int64_t>(*kept_index);
      args.kept_count = const_data<int64_t>(*kept_count);
      if (!device().on_gpu()) {  // there the kernel itself looks at the rows: reading them would make the host wait
        check_problem(kept_problem(args.kept_index, args.kept_count, batch, count));
      }
    }
    return args;
  }
};

Tensor decode_cascade(const Tensor& arm, const Tensor& odm, const Tensor& anchors, OptionalTensor kept_index,
                      OptionalTensor kept_count, std::vector<double> variances) {
  const Inputs in(arm, odm, anchors, kept_index, kept_count);
  DecodeCascadeArgs args = in.args(variances);
  Tensor boxes = in.like();
  args.boxes = boxes.mutable_data_ptr();
  run<cpu::decode_cascade, cuda::decode_cascade>(in.device(), args);
  return boxes;
}

std::tuple<Tensor, Tensor, Tensor> decode_cascade_backward(const Tensor& grad_in, const Tensor& arm, const Tensor& odm,
                                                           const Tensor& anchors, OptionalTensor kept_index,
                                                           OptionalTensor kept_count, std::vector<double> variances) {
  const Inputs in(arm, odm, anchors, kept_index, kept_count);
  const Tensor grad = as_contiguous(grad_in);
  const DecodeCascadeArgs forward = in.args(variances);
  check_like(grad, "grad", in.arm_deltas, "arm_deltas");
  Tensor grad_arm = in.like(), grad_odm = in.like(), grad_anchors = in.like();
  const DecodeCascadeBackwardArgs args{forward, grad.const_data_ptr(), grad_arm.mutable_data_ptr(),
                                       grad_odm.mutable_data_ptr(), grad_anchors.mutable_data_ptr()};
  run<cpu::decode_cascade_backward, cuda::decode_cascade_backward>(in.device(), args);
  return {grad_arm, grad_odm, grad_anchors};
}

}  // namespace

STABLE_TORCH_LIBRARY_FRAGMENT(REFINEDET_LIBRARY, m) {
  m.def(
      "decode_cascade(Tensor arm_deltas, Tensor odm_deltas, Tensor anchors, Tensor? kept_index=None, "
      "Tensor? kept_count=None, float[] variances=[0.1, 0.1, 0.2, 0.2]) -> Tensor");
  m.def(
      "_decode_cascade_backward(Tensor grad, Tensor arm_deltas, Tensor odm_deltas, Tensor anchors, "
      "Tensor? kept_index, Tensor? kept_count, float[] variances) -> (Tensor, Tensor, Tensor)");
}

REFINEDET_KERNELS(m) {
  m.impl("decode_cascade", TORCH_BOX(&decode_cascade));
  m.impl("_decode_cascade_backward", TORCH_BOX(&decode_cascade_backward));
}

}  // namespace refinedet::torch_ops
