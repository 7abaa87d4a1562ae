// Floor, float32: 8 bytes per anchor of the first stage, and 4 (1 + C) per surviving anchor of the second: 51 KB and 33
// KB for 6,375 anchors, 390 survivors and 20 classes, with some 40 operations per survivor and class. That is 0.1 us of
// the GPU; launches and memory latency are the time. So there are two kernels. The first looks through 128 anchors per
// block, which spreads an image over 50 to 128 blocks, and takes a warp for a surviving anchor's class logits, which
// lie side by side; most survivors are done with after one look at these (reach_of). It writes only candidates, 8 bytes
// each. The second (suppress_images.cu) decodes the boxes of the best of them. Expected on an H200: zeros 2, scan 6,
// suppression 17 us, 25 in all; B=32 of 16,320 anchors, 1,000 survivors each, of 200 instructions a warp: 10 for the
// scan, 30 in all.
#include "cuda/primitives/block.h"
#include "cuda/primitives/pack.h"
#include "ops/detect.h"
#include "suppression.h"

namespace refinedet::cuda {
namespace {

constexpr int kThreads = 256, kAnchors = 128;  // of a block

template <class T>
struct Scan {
  const T *arm, *odm;  // logits
  int64_t anchors;
  int columns;             // of the second stage's table, the background first
  uint32_t blocks;         // of an image
  float arm_threshold;     // of keeps_anchor
  float reach, threshold;  // reach_of(threshold)
  CandidateKeys keys;
  CandidateList list;
  SoftmaxRow* softmax;  // (images, anchors), or null where they are not wanted
};

// A warp: an anchor's softmax. The sum is taken class by class, so that it is the CPU kernel's to the bit. With a NaN
// among the logits it is NaN, and no score is above the threshold.
template <class T>
__device__ __forceinline__ SoftmaxRow softmax_row(const T* logits, int columns, float reach) {
  const float background = load(logits[0]);
  bool reaches = false;
  float top = background;
  for (int c = lane_id(); c < columns; c += kWarp) {
    const float x = load(logits[c]);
    reaches = reaches || (c > 0 && x - background >= reach);
    top = max2(x, top);
  }
  if (!__any_sync(kAllLanes, reaches)) {
    return {0, 0};
  }
  GPU_UNROLL
  for (int step = kWarp / 2; step > 0; step /= 2) {
    top = max2(__shfl_xor_sync(kAllLanes, top, step), top);
  }
  float sum = 0;
  for (int first = 0; first < columns; first += kWarp) {
    const int c = first + lane_id();
    const float e = c < columns ? exp_negative(load(logits[c]) - top) : 0.0f;
    GPU_UNROLL
    for (int k = 0; k < kWarp; ++k) {
      sum += __shfl_sync(kAllLanes, e, k);  // zeros behind the last class change nothing
    }
  }
  return {top, sum};
}

// A warp: writes the candidates of an anchor.
template <class T>
__device__ __forceinline__ void list_row(const Scan<T>& scan, int64_t image, int64_t row, const T* logits,
                                         const SoftmaxRow& softmax) {
  for (int first = 0; first < scan.columns; first += kWarp) {
    const int c = first + lane_id();
    const bool foreground = c > 0 && c < scan.columns;
    const float score = foreground ? exp_negative(load(logits[c]) - softmax.top) / softmax.sum : 0.0f;
    const bool is_candidate = foreground && score > scan.threshold;
    const unsigned candidates = __ballot_sync(kAllLanes, is_candidate);
    if (candidates == 0) {
      continue;
    }
    uint32_t place = 0;
    if (lane_id() == 0) {
      place = atomicAdd(&scan.list.counts[image], static_cast<uint32_t>(__popc(candidates)));
    }
    place = __shfl_sync(kAllLanes, place, 0) + static_cast<uint32_t>(__popc(candidates & lanes_below()));
    if (is_candidate && place < scan.list.room) {
      scan.list.keys[image * scan.list.room + place] =
          scan.keys.key(score, static_cast<uint32_t>(c - 1), static_cast<uint32_t>(row));
    }
  }
}

template <class T>
__global__ void __launch_bounds__(kThreads) scan_anchors_kernel(Scan<T> scan) {
  GPU_SHARED(int, survivors, [kAnchors]);
  GPU_SHARED(int, number, [1]);
  const int thread = static_cast<int>(threadIdx.x);
  const int64_t image = blockIdx.x / scan.blocks;
  const int64_t first = static_cast<int64_t>(blockIdx.x % scan.blocks) * kAnchors;
  if (thread == 0) {
    number[0] = 0;
  }
  __syncthreads();
  if (thread < kAnchors && first + thread < scan.anchors) {
    const int64_t at = image * scan.anchors + first + thread;
    if (keeps_anchor(load(scan.arm[2 * at]), load(scan.arm[2 * at + 1]), scan.arm_threshold)) {
      survivors[atomicAdd(&number[0], 1)] = thread;
    } else if (scan.softmax != nullptr) {
      scan.softmax[at] = {0, 0};
    }
  }
  __syncthreads();
  for (int i = warp_id(); i < number[0]; i += kThreads / kWarp) {
    const int64_t row = first + survivors[i], at = image * scan.anchors + row;
    const T* const logits = scan.odm + at * scan.columns;
    const SoftmaxRow softmax = softmax_row(logits, scan.columns, scan.reach);
    if (scan.softmax != nullptr && lane_id() == 0) {
      scan.softmax[at] = softmax;
    }
    if (scan.list.keys != nullptr && softmax.sum > 0) {
      list_row(scan, image, row, logits, softmax);
    }
  }
}

// Where things stand in the workspace.
struct Plan {
  bool in_blocks;        // suppress_images
  CandidateList list{};  // then
  SoftmaxRow* softmax;   // null where the list holds all that there can be
  void* groups;          // else, of suppress_classes
  int64_t bytes;

  Plan(const DetectArgs& args, void* workspace) : softmax(nullptr), groups(nullptr) {
    Workspace memory(workspace);
    in_blocks = fits_blocks(args.anchors, args.classes, args.settings);
    if (in_blocks) {
      list = take_list(memory, args.batch, args.anchors, args.classes);
    }
    if (list.room < args.anchors * args.classes) {
      softmax = memory.take<SoftmaxRow>(args.batch * args.anchors);
    }
    if (!in_blocks) {
      groups = memory.take<char>(suppress_classes_workspace(args.batch, args.anchors, args.classes, args.settings));
    }
    bytes = memory.bytes();
  }
};

bool is_empty(const DetectArgs& args) {
  return args.batch * args.anchors * args.classes == 0 || args.settings.keep_top_k == 0;
}

template <class T>
void run(const DetectArgs& args, void* workspace, Stream stream) {
  const Plan plan(args, workspace);
  const T* odm = static_cast<const T*>(args.odm_logits);
  const int64_t columns = 1 + args.classes;
  const ScoreSource scores{{odm + 1, args.dtype},
                           args.anchors * columns,
                           columns,
                           plan.softmax,
                           args.anchors,
                           args.classes,
                           floor_to<float>(args.score_threshold),
                           CandidateKeys(args.anchors)};
  const BoxSource boxes{
      {args.odm_deltas, args.dtype},     4 * args.anchors, args.arm_deltas, args.anchor_boxes, 4 * args.anchors,
      variance_of<float>(args.variances)};
  Suppression job(args.batch, args.anchors, args.classes, args.settings, scores, boxes, 1.0f);
  job.out_boxes = {args.out_boxes, DType::f32};
  job.out_scores = {args.out_scores, DType::f32};
  job.labels = args.out_labels;
  job.counts = args.out_counts;
  job.clip = args.clip;
  job.width = static_cast<float>(args.width);
  job.height = static_cast<float>(args.height);

  const Scan<T> scan{static_cast<const T*>(args.arm_logits),
                     odm,
                     args.anchors,
                     static_cast<int>(columns),
                     static_cast<uint32_t>(divide_up(args.anchors, kAnchors)),
                     ceil_to<float>(filter_threshold(args.theta)),
                     static_cast<float>(reach_of(args.score_threshold)),
                     scores.threshold,
                     scores.keys,
                     plan.list,
                     plan.softmax};
  if (plan.in_blocks) {
    fill_zero(plan.list.counts, plan.list.zero_bytes, stream);
  }
  launch("detect", scan_anchors_kernel<T>, dim3(static_cast<unsigned>(args.batch * scan.blocks)), dim3(kThreads), 0,
         stream, scan);
  if (plan.in_blocks) {
    suppress_images("detect", job, plan.list, stream);
  } else {
    suppress_classes("detect", job, args.settings, plan.groups, stream);
  }
}

}  // namespace

int64_t detect_workspace(const DetectArgs& args) { return is_empty(args) ? 0 : Plan(args, nullptr).bytes; }

void detect(const DetectArgs& args, void* workspace, Stream stream) {
  if (is_empty(args)) {
    return write_nothing(args.settings, args.batch, {args.out_boxes, DType::f32}, {args.out_scores, DType::f32},
                         args.out_labels, args.out_counts, stream);
  }
  switch (args.dtype) {
    case DType::f16:
      return run<Half>(args, workspace, stream);
    case DType::bf16:
      return run<BFloat16>(args, workspace, stream);
    default:
      return run<float>(args, workspace, stream);
  }
}

}  // namespace refinedet::cuda
