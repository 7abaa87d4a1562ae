// From scored boxes to detections: what multiclass_nms and detect share. Two ways: suppress_images.cu for the usual
// case, where an image's candidates fit one block, suppress_classes.cu for all others.
#pragma once

#include "cuda/primitives/workspace.h"
#include "suppress_block.h"

namespace refinedet::cuda {

// Everything about a call but its memory.
struct Suppression {
  int64_t images, anchors, classes;
  int64_t top_k_per_class, top_k, keep_top_k;  // the first two at most what there can be
  ScoreSource scores;
  BoxSource boxes;
  SuppressionRules rules;
  uint64_t best, worst;  // no candidate has a key outside
  AnyOutput out_boxes, out_scores;
  int64_t* labels;
  int64_t* counts;
  bool clip;
  float width, height;

  // A score is at most `highest`.
  Suppression(int64_t images, int64_t anchors, int64_t classes, const SuppressionSettings& settings,
              const ScoreSource& scores, const BoxSource& boxes, float highest);

  // Writes detection k of an image.
  __device__ __forceinline__ void put(int64_t image, int64_t k, const Box<float>& box, float score,
                                      uint32_t label) const {
    const int64_t at = image * keep_top_k + k;
    const Box<float> b = clip ? refinedet::clip(box, width, height) : box;
    out_boxes.put(4 * at, b.x1);
    out_boxes.put(4 * at + 1, b.y1);
    out_boxes.put(4 * at + 2, b.x2);
    out_boxes.put(4 * at + 3, b.y2);
    out_scores.put(at, score);
    labels[at] = label;
  }

  // Fills an image's rows behind its `count` detections, by a block, and writes that number.
  __device__ __forceinline__ void finish(int64_t image, int64_t count) const {
    for (int64_t k = count + threadIdx.x; k < keep_top_k; k += blockDim.x) {
      put(image, k, {0, 0, 0, 0}, 0.0f, 0);
    }
    if (threadIdx.x == 0) {
      counts[image] = count;
    }
  }
};

// Whether suppress_images does it.
bool fits_blocks(int64_t anchors, int64_t classes, const SuppressionSettings& settings);

// The candidates that it is given in a list; its blocks go through the table where there are more than there is room.
CandidateList take_list(Workspace& memory, int64_t images, int64_t anchors, int64_t classes);

void suppress_images(const char* name, const Suppression& job, const CandidateList& list, Stream stream);

int64_t suppress_classes_workspace(int64_t images, int64_t anchors, int64_t classes,
                                   const SuppressionSettings& settings);
void suppress_classes(const char* name, const Suppression& job, const SuppressionSettings& settings, void* workspace,
                      Stream stream);

// For calls without anything to detect: zeros.
void write_nothing(const SuppressionSettings& settings, int64_t images, const AnyOutput& boxes, const AnyOutput& scores,
                   int64_t* labels, int64_t* counts, Stream stream);

// Threads of a block that deals with `n` of something, a power of two.
inline unsigned threads_for(int64_t n) {
  unsigned threads = kWarp;
  while (threads < kMostThreads && threads < n) {
    threads *= 2;
  }
  return threads;
}

}  // namespace refinedet::cuda
