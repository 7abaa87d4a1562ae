// Scored boxes on their way to detections: where their scores and boxes come from, and the keys that order them.
#pragma once

#include "core/row_maps.h"
#include "core/score_key.h"
#include "core/softmax.h"
#include "cuda/primitives/device.h"
#include "ops/suppression.h"

namespace refinedet::cuda {

// A candidate is one number: its score's key, its label and its row, in this order. So the smaller one is the better,
// and ties fall to the lower label, then to the lower row; no two are equal. Labels and rows share 32 bits: their
// product is below 2^31.
inline constexpr uint64_t kNoCandidate = ~uint64_t{0};

struct CandidateKeys {
  int row_bits;

  REFINEDET_HD explicit CandidateKeys(int64_t rows) : row_bits(0) {
    while ((int64_t{1} << row_bits) < rows) {
      ++row_bits;
    }
  }

  __device__ __forceinline__ uint64_t key(float score, uint32_t label, uint32_t row) const {
    return uint64_t{score_key(score)} << 32 | uint64_t{label} << row_bits | row;
  }
  __device__ __forceinline__ uint32_t label(uint64_t key) const {
    return static_cast<uint32_t>((key & 0xffffffffu) >> row_bits);
  }
  __device__ __forceinline__ uint32_t row(uint64_t key) const {
    return static_cast<uint32_t>(key & ((uint64_t{1} << row_bits) - 1));
  }
};

// Elements of a floating type that is known at run time: for what is read here and there. No float64.
struct AnyInput {
  const void* data;
  DType dtype;

  __device__ __forceinline__ float at(int64_t i) const {
    return dtype == DType::f16    ? load(static_cast<const Half*>(data)[i])
           : dtype == DType::bf16 ? load(static_cast<const BFloat16*>(data)[i])
                                  : static_cast<const float*>(data)[i];
  }
  // The four elements from i on.
  __device__ __forceinline__ Quad<float> row(int64_t i) const {
    return dtype == DType::f16    ? load_box(static_cast<const Half*>(data) + i)
           : dtype == DType::bf16 ? load_box(static_cast<const BFloat16*>(data) + i)
                                  : load_box(static_cast<const float*>(data) + i);
  }
};

struct AnyOutput {
  void* data;
  DType dtype;

  __device__ __forceinline__ void put(int64_t i, float x) const {
    if (dtype == DType::f16) {
      static_cast<Half*>(data)[i] = store<Half>(x);
    } else if (dtype == DType::bf16) {
      static_cast<BFloat16*>(data)[i] = store<BFloat16>(x);
    } else {
      static_cast<float*>(data)[i] = x;
    }
  }
};

// The softmax of a row of logits is exp(x - top) / sum. A row that is sorted out has the sum 0.
struct SoftmaxRow {
  float top, sum;
};

// The table (images, anchors, classes) that candidates come from: scores, or logits with what makes scores of them.
struct ScoreSource {
  AnyInput values;  // from the first class on
  int64_t image_stride, row_stride;
  const SoftmaxRow* softmax;  // (images, anchors), or null
  int64_t anchors, classes;
  float threshold;
  CandidateKeys keys;

  // Entry i of an image, kNoCandidate where its score is not above the threshold.
  __device__ __forceinline__ uint64_t key(int64_t image, uint32_t i) const {
    const uint32_t row = i / static_cast<uint32_t>(classes), label = i - row * static_cast<uint32_t>(classes);
    const int64_t at = image * image_stride + row * row_stride + label;
    if (softmax == nullptr) {
      const float score = values.at(at);
      return score > threshold ? keys.key(score, label, row) : kNoCandidate;
    }
    const SoftmaxRow of_row = softmax[image * anchors + row];
    if (!(of_row.sum > 0)) {
      return kNoCandidate;
    }
    const float score = exp_negative(values.at(at) - of_row.top) / of_row.sum;
    return score > threshold ? keys.key(score, label, row) : kNoCandidate;
  }
};

// Boxes, or what they are decoded from by the cascade.
struct BoxSource {
  AnyInput boxes;  // (images, anchors, 4), or the ODM's deltas
  int64_t image_stride;
  const void *arm_deltas, *anchors;  // null for boxes; of the same type
  int64_t arm_image_stride;
  Delta<float> variance;

  __device__ __forceinline__ Box<float> box(int64_t image, uint32_t row) const {
    const Quad<float> own = boxes.row(image * image_stride + 4 * int64_t{row});
    if (arm_deltas == nullptr) {
      return own;
    }
    const Quad<float> in[3] = {AnyInput{arm_deltas, boxes.dtype}.row(image * arm_image_stride + 4 * int64_t{row}), own,
                               AnyInput{anchors, boxes.dtype}.row(4 * int64_t{row})};
    Quad<float> out;
    CascadeRow<float>{variance}(in, &out);
    return out;
  }
};

// Room for the candidates of each image. There may be more than fit; then the image's list is of no use.
struct CandidateList {
  uint64_t* keys;    // (images, room), in any order; null: not wanted
  uint32_t* counts;  // (images,), 0 at first
  uint32_t room;
  // Where there are more: of the list's new entries, and of the blocks that have made theirs. (images,), 0 at first.
  uint32_t *chosen, *done;
  size_t zero_bytes;  // from `counts` on
};

}  // namespace refinedet::cuda
