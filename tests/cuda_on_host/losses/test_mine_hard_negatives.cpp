// mine_hard_negatives: every choice as the CPU kernel's.
#include "harness.h"
#include "ops/mine_hard_negatives.h"

using namespace refinedet;
using namespace refinedet::harness;

namespace {

template <class T>
void compare(const Array<T>& loss, const Array<int64_t>& labels, const Array<bool>* eligible, int64_t batch,
             double ratio, int64_t min_negatives) {
  const int64_t size = loss.size();
  MineHardNegativesArgs args{};
  args.dtype = kDType<T>;
  args.loss = loss.data();
  args.labels = labels.data();
  args.eligible = eligible == nullptr ? nullptr : eligible->data();
  args.batch = batch;
  args.anchor_count = size / batch;
  args.ratio = ratio;
  args.min_negatives = min_negatives;
  const Array<bool> expected(size), got(size);
  args.chosen = expected.data();
  cpu::mine_hard_negatives(args, one_thread());
  args.chosen = got.data();
  const Array<char> workspace(cuda::mine_hard_negatives_workspace(args));
  cuda::mine_hard_negatives(args, workspace.data(), nullptr);
  expect_close("mine_hard_negatives", got, expected);
}

// Losses of few values with many ties (`values` > 0) or of any value, and about a tenth each of positives, ignored
// anchors and NaN and infinities.
template <class T>
void check(int64_t batch, int64_t count, int64_t values, bool filtered, double ratio, int64_t min_negatives) {
  Random random(static_cast<uint64_t>(count + values));
  Array<T> loss = random.array<T>(batch * count, -1, 3);
  Array<int64_t> labels(batch * count);
  Array<bool> eligible(batch * count);
  const float odd[] = {std::nanf(""), -std::nanf(""), __builtin_huge_valf(), -__builtin_huge_valf(), 0.0f, -0.0f};
  for (int64_t i = 0; i < batch * count; ++i) {
    if (values > 0) {
      loss[i] = store<T>(static_cast<Accumulate<T>>(1 + static_cast<double>(random.below(values)) * 0x1p-23));
    }
    if (random.below(20) == 0) {
      loss[i] = store<T>(static_cast<Accumulate<T>>(odd[random.below(6)]));
    }
    const int64_t draw = random.below(10);
    labels[i] = draw == 0 ? 1 + random.below(20) : draw == 1 ? -1 : 0;
    eligible[i] = random.below(3) != 0;
  }
  compare(loss, labels, filtered ? &eligible : nullptr, batch, ratio, min_negatives);
}

}  // namespace

CUDA_CASE(mine_hard_negatives) {
  for_dtypes([]<class T>(Tag<T>) {
    check<T>(3, 1500, 0, false, 3, 0);
    check<T>(2, 1025, 40, true, 1.7, 0);
    check<T>(1, 7, 0, false, 0, 3);
  });
  check<double>(2, 1100, 0, true, 3, 0);
  check<float>(2, 1100, 3, false, 2, 0);
}

CUDA_CASE(mine_hard_negatives_quota) {
  for (const int64_t values : {0, 2, 5000}) {
    check<float>(1, 2100, values, true, 0, 0);
    check<float>(1, 2100, values, false, 0, 1);
    check<float>(1, 2100, values, true, 1, 1300);
    check<float>(1, 2100, values, false, 1e300, int64_t{1} << 62);
  }
}

// More anchors than shared memory has room for.
CUDA_CASE(mine_hard_negatives_large) {
  check<float>(1, 33000, 0, true, 3, 0);
  check<double>(2, 16500, 5, true, 2, 0);
  check<double>(1, 17000, 4000, true, 1, 0);
  check<double>(1, 16500, 0, false, 0, 1 << 20);
}

// On a GPU whose blocks have 48 KB: the most anchors that fit, and one more.
CUDA_CASE(mine_hard_negatives_little_shared_memory) {
  coh::options().shared = 48 << 10;
  check<float>(1, 9984, 0, true, 3, 0);
  check<float>(1, 9985, 0, true, 3, 0);
  check<double>(1, 4993, 4000, true, 1, 0);
}

CUDA_CASE(mine_hard_negatives_empty) {
  const Array<float> loss(0);
  const Array<int64_t> labels(0);
  compare<float>(loss, labels, nullptr, 4, 3, 1);
}
