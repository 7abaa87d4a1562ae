// mined_cross_entropy: the CPU kernel's choices, and its numbers but for the order of an image's sum.
#include "harness.h"
#include "ops/mined_cross_entropy.h"
#include "stopped.h"

using namespace refinedet;
using namespace refinedet::harness;

namespace {

// About a tenth each of positives, ignored anchors and rows with NaN or infinities.
template <class T>
void check(int64_t batch, int64_t count, int64_t classes, bool filtered, double ratio, int64_t min_negatives) {
  using W = Accumulate<T>;
  Random random(static_cast<uint64_t>(count + classes));
  const int64_t rows = batch * count;
  const Array<T> logits = random.array<T>(rows * classes, -6, 6);
  Array<int64_t> labels(rows), targets(rows);
  Array<bool> eligible(rows);
  const float odd[] = {std::nanf(""), __builtin_huge_valf(), -__builtin_huge_valf()};
  for (int64_t i = 0; i < rows; ++i) {
    const int64_t draw = random.below(10);
    labels[i] = draw == 0 ? 1 : draw == 1 ? -1 : 0;
    targets[i] = random.below(classes + 1) - 1;
    eligible[i] = random.below(3) != 0;
    if (random.below(40) == 0) {
      logits[i * classes + random.below(classes)] = store<T>(static_cast<W>(odd[random.below(3)]));
    }
  }
  MinedCrossEntropyArgs args{};
  args.dtype = kDType<T>;
  args.logits = logits.data();
  args.labels = labels.data();
  args.targets = targets.data();
  args.eligible = filtered ? eligible.data() : nullptr;
  args.batch = batch;
  args.anchor_count = count;
  args.classes = classes;
  args.ratio = ratio;
  args.min_negatives = min_negatives;

  struct Result {
    Array<W> loss;
    Array<bool> chosen;
    Array<int64_t> positives, negatives;
    Array<T> grad;
  };
  const auto run = [&](bool gpu) {
    Result r{Array<W>(batch), Array<bool>(rows), Array<int64_t>(batch), Array<int64_t>(batch),
             Array<T>(rows * classes)};
    args.loss = r.loss.data();
    args.chosen = r.chosen.data();
    args.positives = r.positives.data();
    args.negatives = r.negatives.data();
    Array<W> grad_loss(batch);
    for (int64_t b = 0; b < batch; ++b) {
      grad_loss[b] = W(0.5) + static_cast<W>(b);
    }
    const auto backward = [&] {
      return MinedCrossEntropyBackwardArgs{kDType<T>, grad_loss.data(), args.logits,  args.targets, args.chosen, batch,
                                           count,     classes,          r.grad.data()};
    };
    if (gpu) {
      const Array<char> workspace(cuda::mined_cross_entropy_workspace(args));
      cuda::mined_cross_entropy(args, workspace.data(), nullptr);
      cuda::mined_cross_entropy_backward(backward(), nullptr);
    } else {
      cpu::mined_cross_entropy(args, one_thread());
      cpu::mined_cross_entropy_backward(backward(), one_thread());
    }
    return r;
  };
  const Result expected = run(false), got = run(true);
  expect_close("chosen", got.chosen, expected.chosen);
  expect_close("positives", got.positives, expected.positives);
  expect_close("negatives", got.negatives, expected.negatives);
  expect_close("loss", got.loss, expected.loss, 1e-6);
  expect_close("gradient", got.grad, expected.grad);
}

}  // namespace

CUDA_CASE(mined_cross_entropy) {
  for_dtypes([]<class T>(Tag<T>) {
    check<T>(3, 600, 5, true, 3, 0);
    check<T>(2, 131, 2, false, 1.5, 4);
  });
  check<double>(2, 300, 3, true, 3, 0);
  check<float>(1, 40, 1, false, 3, 0);
}

// As many classes as are staged at a time, more, and so many that lanes' rows would meet in one bank.
CUDA_CASE(mined_cross_entropy_classes) {
  for_dtypes([]<class T>(Tag<T>) {
    for (const int64_t classes : {21, 32, 128, 256, 300}) {
      check<T>(1, 70, classes, true, 3, 0);
    }
  });
  check<double>(1, 40, 200, false, 3, 0);
}

CUDA_CASE(mined_cross_entropy_large) { check<float>(1, 33000, 2, true, 3, 0); }

CUDA_CASE(mined_cross_entropy_empty) {
  check<float>(0, 7, 3, true, 3, 1);
  check<float>(3, 0, 3, false, 3, 1);
}

CUDA_CASE(mined_cross_entropy_out_of_range) {
  const Array<float> logits(std::vector<float>{0, 1, 2}), loss(1);
  const Array<int64_t> labels(std::vector<int64_t>{1}), targets(std::vector<int64_t>{3}), counts(2);
  const Array<bool> chosen(1);
  const MinedCrossEntropyArgs args{DType::f32,  logits.data(), labels.data(), targets.data(),   nullptr, 1, 1, 3, 3, 0,
                                   loss.data(), chosen.data(), counts.data(), counts.data() + 1};
  const Array<char> workspace(cuda::mined_cross_entropy_workspace(args));
  expect(stopped_by("targets", [&] { cuda::mined_cross_entropy(args, workspace.data(), nullptr); }),
         "a target out of range stops the kernel");
}
