// An image's suppression by one block, in one launch. Chosen for its latency: for a detector's image (400 to 1,000
// candidates of some thousands) the work is small, about 100,000 overlaps at most and some passes over 10,000 keys that
// lie in the L2; what costs are steps that wait for one another. So there is one kernel instead of one per step, the
// candidates stay in shared memory from their selection to the output, and all classes are suppressed at once. An image
// takes one of the GPU's 132 multiprocessors (H200): about 15 us by count, for one image or for 100.
//
// More candidates than the list has room for are more than one block can go through several times: 1.3 million scores
// (16,320 anchors, 80 classes) are 0.1 ms a pass. Then several blocks an image each choose the best top_k of a share of
// the table, at most as many as the list holds, and the one that ends last goes on with these. The others are launched
// in any case, since the host does not know, and end at once where the list will do. One image of 1.3 million: 80
// blocks (top_k is 800), 4 passes over 16,320 scores of 16 us in all, then 4 over 64,000 listed ones, 25 us: 60 us
// expected; 32 images in 4 blocks each 0.2 ms.
#include "suppression.h"

namespace refinedet::cuda {
namespace {

constexpr int64_t kListed = 1 << 16;  // most candidates of an image that are listed
constexpr int64_t kPerThread = 16;    // scores of a small table for each thread

// Lists the best top_k of the block's share of an image's table, which is one of `shares`.
__device__ __forceinline__ void list_share(BlockMemory& memory, const Suppression& job, const CandidateList& list,
                                           int64_t image, int64_t share, int64_t shares) {
  const int64_t table = job.anchors * job.classes, begin = table * share / shares;
  const int64_t size = table * (share + 1) / shares - begin;
  const auto key_at = [&](int64_t i) { return job.scores.key(image, static_cast<uint32_t>(begin + i)); };
  const uint32_t wanted = static_cast<uint32_t>(job.top_k);
  const int n = gather(memory, key_at, size, block_select(key_at, size, wanted, job.best, job.worst, memory.bins));
  GPU_SHARED(uint32_t, place, [1]);
  if (threadIdx.x == 0) {
    place[0] = atomicAdd(&list.chosen[image], static_cast<uint32_t>(n));
  }
  __syncthreads();
  if (static_cast<int>(threadIdx.x) < n) {
    list.keys[image * list.room + place[0] + threadIdx.x] = memory.keys[threadIdx.x];
  }
}

// The first blocks are those of the first share of every image.
__global__ void __launch_bounds__(kMostThreads, 1)
    suppress_images_kernel(Suppression job, CandidateList list, int64_t shares) {
  GPU_SHARED(BlockMemory, memory, );
  const int64_t image = blockIdx.x % job.images, share = blockIdx.x / job.images;
  const int thread = static_cast<int>(threadIdx.x);
  const ClassOrder order{job.scores.keys, job.rules.method != SuppressionMethod::hard};
  uint32_t found = list.counts[image];
  if (found > list.room) {  // for all blocks of the image
    list_share(memory, job, list, image, share, shares);
    if (!is_last_block(&list.done[image], static_cast<uint32_t>(shares))) {
      return;
    }
    found = list.chosen[image];
  } else if (share > 0) {
    return;
  }
  const uint64_t* const listed = list.keys + image * list.room;
  const auto in_list = [&](int64_t i) { return listed[i]; };
  const uint32_t limit = static_cast<uint32_t>(job.top_k);
  KeyRange range{job.best, job.worst, found};
  if (found > limit) {
    range = block_select(in_list, found, limit, job.best, job.worst, memory.bins);
  }
  const int n = gather(memory, in_list, found, range);
  const auto box_of = [&](uint32_t row) { return job.boxes.box(image, row); };
  const uint64_t kept = block_sort(suppress_block(memory, n, order, box_of, job.rules), n, memory.exchange);
  const int64_t count = min2<int64_t>(job.keep_top_k, __syncthreads_count(kept != kNoCandidate));
  if (thread < count) {
    const int place = static_cast<int>(kept & 0xffffffffu);
    job.put(image, thread, memory.boxes[place], key_score<float>(static_cast<uint32_t>(kept >> 32)),
            order.label(memory.keys[place]) + 1);
  }
  job.finish(image, count);
}

}  // namespace

Suppression::Suppression(int64_t images, int64_t anchors, int64_t classes, const SuppressionSettings& settings,
                         const ScoreSource& scores, const BoxSource& boxes, float highest)
    : images(images),
      anchors(anchors),
      classes(classes),
      top_k_per_class(min2(settings.top_k_per_class, anchors)),
      top_k(min2(settings.top_k, anchors * classes)),
      keep_top_k(settings.keep_top_k),
      scores(scores),
      boxes(boxes),
      rules(settings),
      best(uint64_t{score_key(highest)} << 32),
      worst(max2(best, uint64_t{score_key(scores.threshold)} << 32 | 0xffffffffu)),
      clip(false),
      width(0),
      height(0) {}

bool fits_blocks(int64_t anchors, int64_t classes, const SuppressionSettings& settings) {
  const int64_t top_k = min2(settings.top_k, anchors * classes);
  // the best top_k have at most so many of a class
  return top_k <= kMostThreads && settings.top_k_per_class >= min2(top_k, anchors);
}

CandidateList take_list(Workspace& memory, int64_t images, int64_t anchors, int64_t classes) {
  const int64_t room = min2(kListed, anchors * classes);
  const int64_t start = memory.bytes();
  uint32_t* const counts = memory.take<uint32_t>(images);
  uint32_t* const chosen = memory.take<uint32_t>(images);
  uint32_t* const done = memory.take<uint32_t>(images);
  const size_t zero_bytes = static_cast<size_t>(memory.bytes() - start);
  return {memory.take<uint64_t>(images * room), counts, static_cast<uint32_t>(room), chosen, done, zero_bytes};
}

void suppress_images(const char* name, const Suppression& job, const CandidateList& list, Stream stream) {
  const unsigned threads = threads_for(max2(job.top_k, job.anchors * job.classes / kPerThread));
  int64_t shares = 1;  // of a table that may have more candidates than are listed: as many as the GPU has room for
  if (job.anchors * job.classes > list.room) {
    shares = max2<int64_t>(1, min2(multiprocessors() / job.images, list.room / job.top_k));
  }
  launch(name, suppress_images_kernel, dim3(static_cast<unsigned>(job.images * shares)), dim3(threads), 0, stream, job,
         list, shares);
}

void write_nothing(const SuppressionSettings& settings, int64_t images, const AnyOutput& boxes, const AnyOutput& scores,
                   int64_t* labels, int64_t* counts, Stream stream) {
  const auto bytes = [&](DType dtype) { return dtype == DType::f32 ? sizeof(float) : sizeof(uint16_t); };
  const size_t rows = static_cast<size_t>(images * settings.keep_top_k);
  fill_zero(boxes.data, rows * 4 * bytes(boxes.dtype), stream);
  fill_zero(scores.data, rows * bytes(scores.dtype), stream);
  fill_zero(labels, rows * sizeof(int64_t), stream);
  fill_zero(counts, static_cast<size_t>(images) * sizeof(int64_t), stream);
}

}  // namespace refinedet::cuda
