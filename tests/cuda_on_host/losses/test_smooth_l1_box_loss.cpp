// smooth_l1_box_loss: the CPU kernel's numbers but for the order of an image's sum.
#include "harness.h"
#include "ops/smooth_l1_box_loss.h"
#include "stopped.h"

using namespace refinedet;
using namespace refinedet::harness;

namespace {

template <class T>
void check(int64_t batch, int64_t count, bool shared, double beta, int64_t boxes = 9) {
  using W = Accumulate<T>;
  Random random(static_cast<uint64_t>(count) + shared);
  const Array<T> deltas = random.array<T>(4 * batch * count, -9, 9), gt = random.boxes<T>(boxes);
  const Array<T> anchors = random.boxes<T>(shared ? count : batch * count);
  Array<int64_t> index(batch * count);
  for (int64_t& i : index) {
    i = random.below(4) == 0 && boxes > 0 ? random.below(boxes) : -1 - random.below(2);
  }
  if (batch * count > 3) {
    deltas[1] = store<T>(static_cast<W>(std::nanf("")));
    deltas[6] = store<T>(static_cast<W>(__builtin_huge_valf()));
  }
  SmoothL1BoxLossArgs args{kDType<T>, deltas.data(), anchors.data(),       gt.data(), index.data(), batch, count,
                           boxes,     shared,        {0.1, 0.1, 0.2, 0.2}, beta,      nullptr};
  Array<W> grad_loss(batch);
  for (int64_t b = 0; b < batch; ++b) {
    grad_loss[b] = W(0.5) + static_cast<W>(b);
  }
  const Array<W> expected(batch), got(batch);
  const Array<T> expected_grad(4 * batch * count), got_grad(4 * batch * count);
  args.loss = expected.data();
  cpu::smooth_l1_box_loss(args, one_thread());
  cpu::smooth_l1_box_loss_backward({args, grad_loss.data(), expected_grad.data()}, one_thread());
  args.loss = got.data();
  cuda::smooth_l1_box_loss(args, nullptr);
  cuda::smooth_l1_box_loss_backward({args, grad_loss.data(), got_grad.data()}, nullptr);
  expect_close("loss", got, expected, 1e-6);
  expect_close("gradient", got_grad, expected_grad);
}

}  // namespace

CUDA_CASE(smooth_l1_box_loss) {
  for_dtypes([]<class T>(Tag<T>) {
    check<T>(3, 700, true, 1);
    check<T>(2, 33, false, 0.25);
  });
  check<double>(2, 300, false, 1);
  check<float>(1, 1500, true, 0);
}

CUDA_CASE(smooth_l1_box_loss_empty) {
  check<float>(0, 7, true, 1);
  check<float>(3, 0, false, 1);
  check<float>(2, 5, true, 1, 0);
}

CUDA_CASE(smooth_l1_box_loss_out_of_range) {
  const Array<float> rows(std::vector<float>(8, 0.5f)), loss(1), grad_loss(std::vector<float>{1}), grad(4);
  const Array<int64_t> index(std::vector<int64_t>{2});
  const SmoothL1BoxLossArgs args{DType::f32, rows.data(), rows.data(),  rows.data(), index.data(), 1, 1,
                                 2,          false,       {1, 1, 1, 1}, 1,           loss.data()};
  expect(stopped_by("gt_index", [&] { cuda::smooth_l1_box_loss(args, nullptr); }),
         "a box out of range stops the kernel");
  expect(stopped_by("gt_index",
                    [&] { cuda::smooth_l1_box_loss_backward({args, grad_loss.data(), grad.data()}, nullptr); }),
         "a box out of range stops the backward kernel");
}
