// Floor: the table of scores read once; 16,320 anchors of 80 classes in float32 are 5.2 MB an image, 1.2 us, and 20
// classes of 6,375 anchors 0.5 MB. Of the candidates (1,000 to 10,000 among a million scores) 8 bytes each are written.
// A block looks through 4,096 scores, enough loads in flight to keep the memory busy and 40 blocks or more per image to
// share it; it gathers its candidates in shared memory and asks once for room in the image's list.
// Expected on an H200: zeros 2, scan 5, suppression 17 us, 24 in all for one image; 8 of 16,320 anchors and 80 classes:
// 42 MB, 11 us for the scan, 30 in all.
#include "cuda/primitives/pack.h"
#include "ops/multiclass_nms.h"
#include "suppression.h"

namespace refinedet::cuda {
namespace {

constexpr int kThreads = 256, kScores = 4096;  // of a block

// An image's scores with the gaps between the rows of a strided table, as one sequence.
template <class T>
struct Table {
  const T* scores;
  int64_t image_stride;
  uint32_t row_stride, classes, span;  // span: of an image
  uint32_t blocks;                     // of an image
  float threshold;
  CandidateKeys keys;
};

template <class T>
__global__ void __launch_bounds__(kThreads) scan_scores_kernel(Table<T> table, CandidateList list) {
  constexpr int kLoads = kScores / kThreads / kPack<T>;
  GPU_SHARED(uint64_t, found, [kScores]);
  GPU_SHARED(uint32_t, number, [2]);  // of candidates, and where they go
  const int64_t image = blockIdx.x / table.blocks;
  const T* const scores = table.scores + image * table.image_stride;
  // the sequence is cut where addresses are aligned, so that its first piece has `lead` elements less
  const int64_t lead = static_cast<int64_t>(reinterpret_cast<uintptr_t>(scores) % 16 / sizeof(T));
  const int64_t block_first = static_cast<int64_t>(blockIdx.x % table.blocks) * kScores - lead;
  if (threadIdx.x == 0) {
    number[0] = 0;
  }
  __syncthreads();
  Pack<T, kPack<T>> packs[kLoads];
  GPU_UNROLL
  for (int k = 0; k < kLoads; ++k) {
    const int64_t first = block_first + (k * kThreads + static_cast<int>(threadIdx.x)) * kPack<T>;
    if (first >= 0 && first + kPack<T> <= table.span) {
      packs[k] = *reinterpret_cast<const Pack<T, kPack<T>>*>(scores + first);
    } else {
      GPU_UNROLL
      for (int j = 0; j < kPack<T>; ++j) {
        const bool inside = first + j >= 0 && first + j < table.span;
        packs[k].at[j] = inside ? scores[first + j] : store<T>(table.threshold);
      }
    }
  }
  GPU_UNROLL
  for (int k = 0; k < kLoads; ++k) {
    const int64_t first = block_first + (k * kThreads + static_cast<int>(threadIdx.x)) * kPack<T>;
    GPU_UNROLL
    for (int j = 0; j < kPack<T>; ++j) {
      const float score = load(packs[k].at[j]);
      const int64_t at = first + j;
      if (score > table.threshold && at >= 0 && at < table.span) {
        const uint32_t row = static_cast<uint32_t>(at) / table.row_stride;
        const uint32_t label = static_cast<uint32_t>(at) - row * table.row_stride;
        if (label < table.classes) {
          found[atomicAdd(&number[0], 1u)] = table.keys.key(score, label, row);
        }
      }
    }
  }
  __syncthreads();
  const uint32_t count = number[0];
  if (threadIdx.x == 0 && count > 0) {
    number[1] = atomicAdd(&list.counts[image], count);
  }
  __syncthreads();
  for (uint32_t i = threadIdx.x; i < count; i += kThreads) {
    const uint64_t to = uint64_t{number[1]} + i;
    if (to < list.room) {
      list.keys[image * list.room + static_cast<int64_t>(to)] = found[i];
    }
  }
}

template <class T>
void scan_scores(const MulticlassNmsArgs& args, const Suppression& job, const CandidateList& list, Stream stream) {
  Table<T> table{static_cast<const T*>(args.scores),
                 args.score_image_stride,
                 static_cast<uint32_t>(args.score_row_stride),
                 static_cast<uint32_t>(args.classes),
                 static_cast<uint32_t>((args.anchors - 1) * args.score_row_stride + args.classes),
                 0,
                 job.scores.threshold,
                 job.scores.keys};
  table.blocks = static_cast<uint32_t>(divide_up(int64_t{table.span} + kPack<T> - 1, kScores));
  fill_zero(list.counts, list.zero_bytes, stream);
  launch("multiclass_nms", scan_scores_kernel<T>, dim3(static_cast<unsigned>(args.images * table.blocks)),
         dim3(kThreads), 0, stream, table, list);
}

bool is_empty(const MulticlassNmsArgs& args) {
  return args.images * args.anchors * args.classes == 0 || args.settings.keep_top_k == 0;
}

}  // namespace

int64_t multiclass_nms_workspace(const MulticlassNmsArgs& args) {
  if (is_empty(args)) {
    return 0;
  }
  if (!fits_blocks(args.anchors, args.classes, args.settings)) {
    return suppress_classes_workspace(args.images, args.anchors, args.classes, args.settings);
  }
  Workspace memory;
  take_list(memory, args.images, args.anchors, args.classes);
  return memory.bytes();
}

void multiclass_nms(const MulticlassNmsArgs& args, void* workspace, Stream stream) {
  const AnyOutput out_boxes{args.out_boxes, args.box_dtype}, out_scores{args.out_scores, args.score_dtype};
  if (is_empty(args)) {
    return write_nothing(args.settings, args.images, out_boxes, out_scores, args.out_labels, args.out_counts, stream);
  }
  const ScoreSource scores{{args.scores, args.score_dtype},
                           args.score_image_stride,
                           args.score_row_stride,
                           nullptr,
                           args.anchors,
                           args.classes,
                           floor_to<float>(args.score_threshold),
                           CandidateKeys(args.anchors)};
  const BoxSource boxes{{args.boxes, args.box_dtype}, args.box_image_stride, nullptr, nullptr, 0, {}};
  Suppression job(args.images, args.anchors, args.classes, args.settings, scores, boxes, INFINITY);
  job.out_boxes = out_boxes;
  job.out_scores = out_scores;
  job.labels = args.out_labels;
  job.counts = args.out_counts;
  if (!fits_blocks(args.anchors, args.classes, args.settings)) {
    return suppress_classes("multiclass_nms", job, args.settings, workspace, stream);
  }
  Workspace memory(workspace);
  const CandidateList list = take_list(memory, args.images, args.anchors, args.classes);
  switch (args.score_dtype) {
    case DType::f16:
      scan_scores<Half>(args, job, list, stream);
      break;
    case DType::bf16:
      scan_scores<BFloat16>(args, job, list, stream);
      break;
    default:
      scan_scores<float>(args, job, list, stream);
  }
  suppress_images("multiclass_nms", job, list, stream);
}

}  // namespace refinedet::cuda
