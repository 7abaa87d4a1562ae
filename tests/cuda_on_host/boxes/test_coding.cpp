// decode_boxes, encode_boxes and decode_cascade.
#include "harness.h"
#include "ops/decode_boxes.h"
#include "ops/decode_cascade.h"
#include "ops/encode_boxes.h"
#include "stopped.h"

using namespace refinedet;
using namespace refinedet::harness;

namespace {

constexpr double kVariances[4] = {0.1, 0.1, 0.2, 0.2};

// The arrays start `shift` elements into their memory, so that rows are aligned for wide loads or not.
template <class T>
Array<T> shifted(const Array<T>& from, int64_t shift) {
  Array<T> to(from.size() + shift);
  std::copy(from.begin(), from.end(), to.data() + shift);
  return to;
}

template <class T>
void check_decode(int64_t count, int64_t anchor_count, bool clip, int64_t shift) {
  Random random(static_cast<uint64_t>(count + anchor_count));
  const Array<T> deltas = shifted(random.array<T>(4 * count, -30, 30), shift), anchors = random.boxes<T>(anchor_count);
  const Array<T> grad = random.array<T>(4 * count, -1, 1);
  DecodeBoxesArgs args{};
  args.dtype = kDType<T>;
  args.deltas = deltas.data() + shift;
  args.anchors = anchors.data();
  args.count = count;
  args.anchor_count = anchor_count;
  std::copy(kVariances, kVariances + 4, args.variances);
  args.clip = clip;
  args.width = args.height = 0.9;
  Array<T> expected(4 * count), got(4 * count);
  args.boxes = expected.data();
  cpu::decode_boxes(args, one_thread());
  args.boxes = got.data();
  cuda::decode_boxes(args, nullptr);
  expect_close("decode_boxes", got, expected);

  Array<T> deltas1(4 * count), deltas2(4 * count), anchors1(4 * count), anchors2(4 * count);
  cpu::decode_boxes_backward({args, grad.data(), deltas1.data(), anchors1.data()}, one_thread());
  cuda::decode_boxes_backward({args, grad.data(), deltas2.data(), anchors2.data()}, nullptr);
  expect_close("decode_boxes_backward, deltas", deltas2, deltas1);
  expect_close("decode_boxes_backward, anchors", anchors2, anchors1);
}

template <class T>
void check_encode(int64_t count, int64_t anchor_count) {
  Random random(static_cast<uint64_t>(count + anchor_count));
  const Array<T> boxes = random.boxes<T>(count), anchors = random.boxes<T>(anchor_count);
  const Array<T> grad = random.array<T>(4 * count, -1, 1);
  EncodeBoxesArgs args{kDType<T>, boxes.data(), anchors.data(), count, anchor_count, {0.1, 0.1, 0.2, 0.2}, nullptr};
  Array<T> expected(4 * count), got(4 * count);
  args.deltas = expected.data();
  cpu::encode_boxes(args, one_thread());
  args.deltas = got.data();
  cuda::encode_boxes(args, nullptr);
  expect_close("encode_boxes", got, expected);

  Array<T> boxes1(4 * count), boxes2(4 * count), anchors1(4 * count), anchors2(4 * count);
  cpu::encode_boxes_backward({args, grad.data(), boxes1.data(), anchors1.data()}, one_thread());
  cuda::encode_boxes_backward({args, grad.data(), boxes2.data(), anchors2.data()}, nullptr);
  expect_close("encode_boxes_backward, boxes", boxes2, boxes1);
  expect_close("encode_boxes_backward, anchors", anchors2, anchors1);
}

template <class T>
void check_cascade(int64_t batch, int64_t count, bool shared, bool some) {
  Random random(static_cast<uint64_t>(batch * count));
  const int64_t rows = batch * count;
  const Array<T> arm = random.array<T>(4 * rows, -3, 3), odm = random.array<T>(4 * rows, -3, 3);
  const Array<T> anchors = random.boxes<T>(shared ? count : rows), grad = random.array<T>(4 * rows, -1, 1);
  Array<int64_t> index(rows), counts(batch);
  for (int64_t b = 0; b < batch; ++b) {
    counts[b] = 0;
    for (int64_t i = 0; i < count; ++i) {
      index[b * count + i] = -1;
    }
    for (int64_t i = 0; i < count; ++i) {
      if (random.below(3) == 0) {
        index[b * count + counts[b]++] = i;
      }
    }
  }
  DecodeCascadeArgs args{};
  args.dtype = kDType<T>;
  args.arm_deltas = arm.data();
  args.odm_deltas = odm.data();
  args.anchors = anchors.data();
  args.shared_anchors = shared;
  args.batch = batch;
  args.count = count;
  std::copy(kVariances, kVariances + 4, args.variances);
  args.kept_index = some ? index.data() : nullptr;
  args.kept_count = some ? counts.data() : nullptr;
  Array<T> expected(4 * rows), got(4 * rows);
  args.boxes = expected.data();
  cpu::decode_cascade(args, one_thread());
  args.boxes = got.data();
  cuda::decode_cascade(args, nullptr);
  expect_close("decode_cascade", got, expected);

  Array<T> arm1(4 * rows), arm2(4 * rows), odm1(4 * rows), odm2(4 * rows), anchors1(4 * rows), anchors2(4 * rows);
  cpu::decode_cascade_backward({args, grad.data(), arm1.data(), odm1.data(), anchors1.data()}, one_thread());
  cuda::decode_cascade_backward({args, grad.data(), arm2.data(), odm2.data(), anchors2.data()}, nullptr);
  expect_close("decode_cascade_backward, ARM", arm2, arm1);
  expect_close("decode_cascade_backward, ODM", odm2, odm1);
  expect_close("decode_cascade_backward, anchors", anchors2, anchors1);
}

}  // namespace

CUDA_CASE(coding) {
  for_dtypes([]<class T>(Tag<T>) {
    check_decode<T>(700, 350, true, 0);
    check_decode<T>(33, 33, false, 1);
    check_encode<T>(514, 257);
    check_encode<T>(1, 1);
    check_cascade<T>(3, 101, true, false);
    check_cascade<T>(2, 300, false, true);
  });
}

// Anchors up to the largest float: finite, and as on the CPU.
CUDA_CASE(coding_far) {
  constexpr float kMost = std::numeric_limits<float>::max();
  Array<float> anchors(std::vector<float>{0.55f * kMost, -kMost, 0.75f * kMost, kMost, -kMost, 0, kMost, 1}), deltas(8);
  for (const float delta : {-kMost, -1.0f, 0.0f, 1.0f, kMost}) {
    std::fill(deltas.begin(), deltas.end(), delta);
    Array<float> expected(8), got(8), encoded1(8), encoded2(8);
    DecodeCascadeArgs args{};
    args.dtype = DType::f32;
    args.arm_deltas = args.odm_deltas = deltas.data();
    args.anchors = anchors.data();
    args.shared_anchors = true;
    args.batch = 1;
    args.count = 2;
    std::copy(kVariances, kVariances + 4, args.variances);
    args.boxes = expected.data();
    cpu::decode_cascade(args, one_thread());
    args.boxes = got.data();
    cuda::decode_cascade(args, nullptr);
    expect_close("decode_cascade of far anchors", got, expected);
    EncodeBoxesArgs back{DType::f32, got.data(), anchors.data(), 2, 2, {0.1, 0.1, 0.2, 0.2}, encoded1.data()};
    cpu::encode_boxes(back, one_thread());
    back.deltas = encoded2.data();
    cuda::encode_boxes(back, nullptr);
    expect_close("encode_boxes of far boxes", encoded2, encoded1);
    for (int64_t i = 0; i < 8; ++i) {
      expect(std::isfinite(got[i]) && std::isfinite(encoded2[i]), "finite boxes and deltas");
    }
  }
}

CUDA_CASE(coding_out_of_range) {
  Array<float> rows(8), anchors(8), boxes(8);
  std::fill(rows.begin(), rows.end(), 0.0f);
  std::fill(anchors.begin(), anchors.end(), 0.5f);
  const auto stops = [&](int64_t index, int64_t count, const char* what) {
    Array<int64_t> kept_index(std::vector<int64_t>{0, index}), kept_count(std::vector<int64_t>{count});
    DecodeCascadeArgs args{DType::f32, rows.data(),  rows.data(),       anchors.data(),    true,        1,
                           2,          {1, 1, 1, 1}, kept_index.data(), kept_count.data(), boxes.data()};
    return stopped_by(what, [&] { cuda::decode_cascade(args, nullptr); });
  };
  expect(stops(2, 2, "kept.index"), "a kept index out of range stops the kernel");
  expect(stops(-1, 2, "kept.index"), "a kept index below 0 stops the kernel");
  expect(stops(1, 3, "kept.count"), "more kept rows than there are stop the kernel");
  expect(stops(1, -1, "kept.count"), "fewer kept rows than none stop the kernel");
}
