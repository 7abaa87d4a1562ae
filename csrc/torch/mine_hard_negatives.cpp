#include "ops/mine_hard_negatives.h"

#include "loss_checks.h"

namespace refinedet::torch_ops {
namespace {

Tensor mine_hard_negatives(const Tensor& loss_in, const Tensor& labels_in, std::optional<Tensor> eligible_in,
                           double ratio, int64_t min_negatives) {
  const Tensor loss = as_contiguous(loss_in), labels = as_contiguous(labels_in);
  const Device device = device_of(loss, "loss");
  check_shape(loss, "loss", {"B", "A"});
  REFINEDET_CHECK(loss.size(1) < int64_t{1} << 32, "loss: expected fewer than 2^32 anchors, got ", loss.size(1));
  check_tensor(labels, "labels", device, ScalarType::Long, {loss.size(0), loss.size(1)}, "loss");
  check_mining(ratio, min_negatives);
  MineHardNegativesArgs args{};
  args.dtype = dtype_of(loss, "loss");
  args.loss = loss.const_data_ptr();
  args.labels = const_data<int64_t>(labels);
  Tensor eligible;
  if (eligible_in.has_value()) {
    eligible = as_contiguous(*eligible_in);
    check_tensor(eligible, "eligible", device, ScalarType::Bool, {loss.size(0), loss.size(1)}, "loss");
    args.eligible = const_data<bool>(eligible);
  }
  args.batch = loss.size(0);
  args.anchor_count = loss.size(1);
  args.ratio = ratio;
  args.min_negatives = min_negatives;
  const Tensor chosen = new_tensor(loss.sizes(), ScalarType::Bool, device);
  args.chosen = data<bool>(chosen);
  run<cpu::mine_hard_negatives, cuda::mine_hard_negatives, cuda::mine_hard_negatives_workspace>(device, args);
  return chosen;
}

}  // namespace

STABLE_TORCH_LIBRARY_FRAGMENT(REFINEDET_LIBRARY, m) {
  m.def("mine_hard_negatives(Tensor loss, Tensor labels, Tensor? eligible, float ratio, int min_negatives) -> Tensor");
}

REFINEDET_KERNELS(m) { m.impl("mine_hard_negatives", TORCH_BOX(&mine_hard_negatives)); }

}  // namespace refinedet::torch_ops
