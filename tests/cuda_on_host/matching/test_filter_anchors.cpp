// filter_anchors and filter_anchors_mask.
#include "harness.h"
#include "ops/filter_anchors.h"

using namespace refinedet;
using namespace refinedet::harness;

namespace {

// The logits start `shift` elements into their memory, so that pairs are aligned for wide loads or not.
template <class T>
void check(int64_t batch, int64_t count, double theta, int64_t shift = 0) {
  Random random(static_cast<uint64_t>(batch + count));
  const Array<T> logits = random.array<T>(2 * batch * count + shift, -4, 4);
  for (int64_t i = 0; i < batch * count; i += 7) {  // at the edge for theta = 1/2, and NaN
    logits[shift + 2 * i] = logits[shift + 2 * i + 1];
    if (i % 3 == 0) {
      logits[shift + 2 * i] = store<T>(static_cast<Accumulate<T>>(NAN));
    }
  }
  Array<int64_t> expected(batch * count), got(batch * count), counts1(batch), counts2(batch);
  FilterAnchorsArgs args{kDType<T>, logits.data() + shift, batch, count, theta, expected.data(), counts1.data()};
  cpu::filter_anchors(args, one_thread());
  args.index = got.data();
  args.index_count = counts2.data();
  const Array<char> workspace(cuda::filter_anchors_workspace(args));
  cuda::filter_anchors(args, workspace.data(), nullptr);
  expect_close("filter_anchors, index", got, expected);
  expect_close("filter_anchors, count", counts2, counts1);

  Array<bool> mask1(batch * count), mask2(batch * count);
  FilterAnchorsMaskArgs mask{kDType<T>, logits.data() + shift, batch, count, theta, mask1.data()};
  cpu::filter_anchors_mask(mask, one_thread());
  mask.mask = mask2.data();
  cuda::filter_anchors_mask(mask, nullptr);
  expect_close("filter_anchors_mask", mask2, mask1);
}

}  // namespace

CUDA_CASE(filter_anchors) {
  for_dtypes([]<class T>(Tag<T>) {
    check<T>(2, 1, 0.5);
    check<T>(3, 67, 0.5);
    check<T>(2, 1500, 0.9, 1);
    check<T>(3, 33, 1.0);
    check<T>(0, 5, 0.5);
    check<T>(2, 0, 0.5);
  });
  check<double>(2, 40, 0.5);
}

CUDA_CASE(filter_anchors_in_chunks) {
  check<float>(2, 16385, 0.5);
  check<BFloat16>(1, 3 * 4096 + 4100, 0.7, 1);
}
