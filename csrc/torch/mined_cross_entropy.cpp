#include "ops/mined_cross_entropy.h"

#include "loss_checks.h"

namespace refinedet::torch_ops {
namespace {

// Throws unless logits are (B, A, C) and targets (B, A) of classes.
Device check_rows(const Tensor& logits, const Tensor& targets, const char* targets_name) {
  const Device device = device_of(logits, "logits");
  REFINEDET_CHECK(logits.dim() == 3 && logits.size(2) > 0, "logits: expected shape (B, A, C) with C > 0, got ",
                  shape_of(logits));
  REFINEDET_CHECK(logits.size(1) < int64_t{1} << 32, "logits: expected fewer than 2^32 anchors, got ", logits.size(1));
  check_tensor(targets, targets_name, device, ScalarType::Long, {logits.size(0), logits.size(1)}, "logits");
  return device;
}

std::tuple<Tensor, Tensor, Tensor, Tensor> mined_cross_entropy(const Tensor& logits_in, const Tensor& labels_in,
                                                               std::optional<Tensor> targets_in,
                                                               std::optional<Tensor> eligible_in, double ratio,
                                                               int64_t min_negatives) {
  const Tensor logits = as_contiguous(logits_in), labels = as_contiguous(labels_in);
  const Tensor targets = targets_in.has_value() ? as_contiguous(*targets_in) : labels;
  const Device device = check_rows(logits, targets, targets_in.has_value() ? "targets" : "labels");
  check_below(targets, targets_in.has_value() ? "targets" : "labels", logits.size(2), device);
  check_tensor(labels, "labels", device, ScalarType::Long, {logits.size(0), logits.size(1)}, "logits");
  check_mining(ratio, min_negatives);
  MinedCrossEntropyArgs args{};
  args.dtype = dtype_of(logits, "logits");
  args.logits = logits.const_data_ptr();
  args.labels = const_data<int64_t>(labels);
  args.targets = const_data<int64_t>(targets);
  Tensor eligible;
  if (eligible_in.has_value()) {
    eligible = as_contiguous(*eligible_in);
    check_tensor(eligible, "eligible", device, ScalarType::Bool, {logits.size(0), logits.size(1)}, "logits");
    args.eligible = const_data<bool>(eligible);
  }
  args.batch = logits.size(0);
  args.anchor_count = logits.size(1);
  args.classes = logits.size(2);
  args.ratio = ratio;
  args.min_negatives = min_negatives;
  const Tensor loss = new_tensor({args.batch}, sum_dtype(logits), device);
  const Tensor chosen = new_tensor(labels.sizes(), ScalarType::Bool, device);
  const Tensor positives = new_tensor({args.batch}, ScalarType::Long, device);
  const Tensor negatives = new_tensor({args.batch}, ScalarType::Long, device);
  args.loss = loss.mutable_data_ptr();
  args.chosen = data<bool>(chosen);
  args.positives = data<int64_t>(positives);
  args.negatives = data<int64_t>(negatives);
  run<cpu::mined_cross_entropy, cuda::mined_cross_entropy, cuda::mined_cross_entropy_workspace>(device, args);
  return {loss, chosen, positives, negatives};
}

Tensor mined_cross_entropy_backward(const Tensor& grad_in, const Tensor& logits_in, const Tensor& targets_in,
                                    const Tensor& chosen_in) {
  const Tensor grad = as_contiguous(grad_in), logits = as_contiguous(logits_in);
  const Tensor targets = as_contiguous(targets_in), chosen = as_contiguous(chosen_in);
  const Device device = check_rows(logits, targets, "targets");
  check_tensor(chosen, "chosen", device, ScalarType::Bool, {logits.size(0), logits.size(1)}, "logits");
  check_tensor(grad, "grad", device, sum_dtype(logits), {logits.size(0)});
  const Tensor grad_logits = new_tensor(logits.sizes(), logits.scalar_type(), device);
  const MinedCrossEntropyBackwardArgs args{
      dtype_of(logits, "logits"),    grad.const_data_ptr(), logits.const_data_ptr(), const_data<int64_t>(targets),
      const_data<bool>(chosen),      logits.size(0),        logits.size(1),          logits.size(2),
      grad_logits.mutable_data_ptr()};
  run<cpu::mined_cross_entropy_backward, cuda::mined_cross_entropy_backward>(device, args);
  return grad_logits;
}

}  // namespace

STABLE_TORCH_LIBRARY_FRAGMENT(REFINEDET_LIBRARY, m) {
  m.def(
      "mined_cross_entropy(Tensor logits, Tensor labels, Tensor? targets, Tensor? eligible, float ratio,"
      " int min_negatives) -> (Tensor, Tensor, Tensor, Tensor)");
  m.def("_mined_cross_entropy_backward(Tensor grad, Tensor logits, Tensor targets, Tensor chosen) -> Tensor");
}

REFINEDET_KERNELS(m) {
  m.impl("mined_cross_entropy", TORCH_BOX(&mined_cross_entropy));
  m.impl("_mined_cross_entropy_backward", TORCH_BOX(&mined_cross_entropy_backward));
}

}  // namespace refinedet::torch_ops
