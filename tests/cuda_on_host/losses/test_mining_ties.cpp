// mine_hard_negatives where all losses of a large image are equal: the first ones are chosen, across its chunks.
#include "harness.h"
#include "ops/mine_hard_negatives.h"

using namespace refinedet;
using namespace refinedet::harness;

CUDA_CASE(mining_of_equal_losses) {
  coh::options().shared = 48 << 10;                        // too little for the image
  constexpr int64_t kAnchors = 10'000, kNegatives = 6000;  // in chunks of 4,096
  const Array<float> loss(std::vector<float>(kAnchors, 1.5f));
  const Array<int64_t> labels(std::vector<int64_t>(kAnchors, 0));
  const Array<bool> expected(kAnchors), got(kAnchors);
  std::fill(expected.begin(), expected.end(), false);
  std::fill(expected.begin(), expected.begin() + kNegatives, true);
  MineHardNegativesArgs args{};
  args.dtype = DType::f32;
  args.loss = loss.data();
  args.labels = labels.data();
  args.batch = 1;
  args.anchor_count = kAnchors;
  args.min_negatives = kNegatives;
  args.chosen = got.data();
  const Array<char> workspace(cuda::mine_hard_negatives_workspace(args));
  cuda::mine_hard_negatives(args, workspace.data(), nullptr);
  expect_close("mine_hard_negatives", got, expected);
}
