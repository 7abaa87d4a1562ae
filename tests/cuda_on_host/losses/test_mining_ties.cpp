// mine_hard_negatives where all losses of a large image are equal: the first ones are chosen, across its chunks.
#include "harness.h"
#include "ops/mine_hard_negatives.h"

using namespace refinedet;
using namespace refinedet::harness;

CUDA_CASE(mining_of_equal_losses) {
  coh::options().shared = 48 << 10;  // too little for an image
  constexpr int64_t kBatch = 2, kAnchors = 10'000;
  Array<float> loss(kBatch * kAnchors);
  Array<int64_t> labels(kBatch * kAnchors);
  std::fill(loss.begin(), loss.end(), 1.5f);
  std::fill(labels.begin(), labels.end(), 0);
  for (const int64_t negatives : {4096, 6000, 9000}) {  // of chunks of 4,096
    MineHardNegativesArgs args{};
    args.dtype = DType::f32;
    args.loss = loss.data();
    args.labels = labels.data();
    args.batch = kBatch;
    args.anchor_count = kAnchors;
    args.min_negatives = negatives;
    Array<bool> expected(kBatch * kAnchors), got(kBatch * kAnchors);
    for (int64_t i = 0; i < expected.size(); ++i) {
      expected[i] = i % kAnchors < negatives;
    }
    args.chosen = got.data();
    const Array<char> workspace(cuda::mine_hard_negatives_workspace(args));
    cuda::mine_hard_negatives(args, workspace.data(), nullptr);
    expect_close("mine_hard_negatives", got, expected);
  }
}
