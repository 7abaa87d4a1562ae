// Suppression without a limit on the candidates of an image, or with one that is larger than a block or holds for each
// class. The candidates of each (image, class) come to stand together: counted, then placed, in two passes over the
// table, so that nothing has to be sorted as a whole and the work grows with the candidates, not with their room. A
// block then suppresses each group: in shared memory if they are at most 1,024, as with the settings of the RefineDet
// release (the best 1,000 of each class); else pick by pick, by a pass over the group each. The limits are found by
// selection, one block per class or image. 6 launches, 8 with both limits; for 8 images of 16,320 anchors and 80
// classes the two passes over the table are 40 MB each, about 10 us, and the memory for a candidate per score is 84 MB.
#include "suppression.h"

namespace refinedet::cuda {
namespace {

// Group g = image * classes + label has items[first[g]] up to items[first[g] + count[g]] of its image.
struct Groups {
  uint64_t* items;  // (images, room); kNoCandidate: sorted out
  int64_t room, groups;
  uint32_t *count, *first, *next;  // (groups,); next: where the next item goes
  uint32_t* total;                 // (images,)
  uint64_t* last;                  // (images,) the last item of the image's best top_k

  Groups(Workspace& memory, int64_t images, int64_t anchors, int64_t classes)
      : items(memory.take<uint64_t>(images * anchors * classes)),
        room(anchors * classes),
        groups(images * classes),
        count(memory.take<uint32_t>(groups)),
        first(memory.take<uint32_t>(groups)),
        next(memory.take<uint32_t>(groups)),
        total(memory.take<uint32_t>(images)),
        last(memory.take<uint64_t>(images)) {}
};

// f(image, candidate) for all of them, by a grid.
template <class F>
__device__ __forceinline__ void for_candidates(const Suppression& job, int64_t room, const F& f) {
  const int64_t all = job.images * room;
  for (int64_t i = grid_first(); i < all; i += grid_step()) {
    const int64_t image = i / room;
    const uint64_t key = job.scores.key(image, static_cast<uint32_t>(i - image * room));
    if (key != kNoCandidate) {
      f(image, key);
    }
  }
}

__global__ void count_kernel(Suppression job, Groups groups) {
  for_candidates(job, groups.room, [&](int64_t image, uint64_t key) {
    atomicAdd(&groups.count[image * job.classes + job.scores.keys.label(key)], 1u);
  });
}

// A block per image.
__global__ void __launch_bounds__(kMostThreads, 1) place_groups_kernel(Suppression job, Groups groups) {
  const int64_t at = blockIdx.x * job.classes;
  uint32_t before = 0;
  for (int64_t c = 0; c < job.classes; c += blockDim.x) {
    const int64_t mine = c + threadIdx.x;
    uint32_t sum = 0;
    const uint32_t first =
        before + block_exclusive_scan(mine < job.classes ? groups.count[at + mine] : uint32_t{0}, &sum);
    if (mine < job.classes) {
      groups.first[at + mine] = first;
      groups.next[at + mine] = first;
    }
    before += sum;
  }
  if (threadIdx.x == 0) {
    groups.total[blockIdx.x] = before;
    groups.last[blockIdx.x] = job.worst;
  }
}

__global__ void place_items_kernel(Suppression job, Groups groups) {
  for_candidates(job, groups.room, [&](int64_t image, uint64_t key) {
    const uint32_t to = atomicAdd(&groups.next[image * job.classes + job.scores.keys.label(key)], 1u);
    groups.items[image * groups.room + to] = key;
  });
}

// A block per group: leaves its best top_k_per_class.
__global__ void __launch_bounds__(kMostThreads, 1) limit_groups_kernel(Suppression job, Groups groups) {
  GPU_SHARED(uint32_t, bins, [kSelectBins]);
  const int64_t group = blockIdx.x;
  const uint32_t n = groups.count[group], limit = static_cast<uint32_t>(job.top_k_per_class);
  if (n <= limit) {
    return;
  }
  uint64_t* const items = groups.items + group / job.classes * groups.room + groups.first[group];
  const KeyRange best = block_select([&](int64_t i) { return items[i]; }, n, limit, job.best, job.worst, bins);
  for (uint32_t i = threadIdx.x; i < n; i += blockDim.x) {
    if (items[i] > best.last) {
      items[i] = kNoCandidate;
    }
  }
}

// A block per image: finds its best top_k.
__global__ void __launch_bounds__(kMostThreads, 1) limit_images_kernel(Suppression job, Groups groups) {
  GPU_SHARED(uint32_t, bins, [kSelectBins]);
  const uint64_t* const items = groups.items + blockIdx.x * groups.room;
  const KeyRange best = block_select([&](int64_t i) { return items[i]; }, groups.total[blockIdx.x],
                                     static_cast<uint32_t>(job.top_k), job.best, job.worst, bins);
  if (threadIdx.x == 0) {
    groups.last[blockIdx.x] = best.last;
  }
}

// Suppresses n items of any number: moves the picked ones to the front, best first, keyed by the scores they had then,
// and returns their number.
template <class BoxOf>
__device__ __forceinline__ int64_t suppress_many(uint64_t* items, int64_t n, const CandidateKeys& keys,
                                                 const BoxOf& box_of, const SuppressionRules& rules) {
  const bool hard = rules.method == SuppressionMethod::hard;
  uint64_t mine = kNoCandidate;  // the best item of this thread, and
  int64_t mine_at = 0;           // where it stands
  const auto see = [&](uint64_t key, int64_t at) {
    mine_at = key < mine ? at : mine_at;
    mine = min2(key, mine);
  };
  for (int64_t i = threadIdx.x; i < n; i += blockDim.x) {
    see(items[i], i);
  }
  int64_t picked = 0;
  for (; picked < rules.soft.limit; ++picked) {
    const uint64_t best = block_min(mine);
    if (best == kNoCandidate || (!hard && !can_be_picked(best, rules.soft))) {
      break;
    }
    if (mine == best) {
      items[mine_at] = items[picked];
      items[picked] = best;
    }
    __syncthreads();
    const Box<float> box = box_of(keys.row(best));
    const float box_area = area(box), box_share = rules.test.share_of(box);
    mine = kNoCandidate;
    for (int64_t i = picked + 1 + threadIdx.x; i < n; i += blockDim.x) {
      uint64_t key = items[i];
      if (key == kNoCandidate) {
        continue;
      }
      const Box<float> other = box_of(keys.row(key));
      if (!hard) {
        items[i] = key = decayed(key, other, area(other), box, box_area, rules.soft);
      } else if (rules.test.suppresses(other, rules.test.share_of(other), box, box_share)) {
        items[i] = key = kNoCandidate;
      }
      see(key, i);
    }
  }
  __syncthreads();
  return picked;
}

// A block per group: leaves the items that are kept, with the scores they were picked with.
__global__ void __launch_bounds__(kMostThreads, 1) suppress_classes_kernel(Suppression job, Groups groups) {
  GPU_SHARED(BlockMemory, memory, );
  const int64_t group = blockIdx.x, image = group / job.classes;
  const uint32_t n = groups.count[group];
  if (n == 0) {
    return;
  }
  uint64_t* const items = groups.items + image * groups.room + groups.first[group];
  const uint64_t last = groups.last[image];
  const auto item_at = [&](int64_t i) { return items[i]; };
  const auto box_of = [&](uint32_t row) { return job.boxes.box(image, row); };
  uint32_t mine = 0, left = 0;  // items that take part
  for (uint32_t i = threadIdx.x; i < n; i += blockDim.x) {
    const bool takes_part = items[i] <= last;
    mine += takes_part ? 1 : 0;
    if (!takes_part) {
      items[i] = kNoCandidate;
    }
  }
  block_exclusive_scan(mine, &left);
  if (left > blockDim.x) {
    const int64_t picked = suppress_many(items, n, job.scores.keys, box_of, job.rules);
    for (int64_t i = picked + threadIdx.x; i < n; i += blockDim.x) {
      items[i] = kNoCandidate;
    }
    return;
  }
  gather(memory, item_at, n, {job.best, job.worst, left});
  const ClassOrder order{job.scores.keys, job.rules.method != SuppressionMethod::hard};
  const uint64_t kept = suppress_block(memory, static_cast<int>(left), order, box_of, job.rules);
  for (uint32_t i = threadIdx.x; i < n; i += blockDim.x) {
    items[i] = kNoCandidate;
    if (i < left && kept != kNoCandidate) {  // entry i is this thread's
      const uint64_t key = memory.keys[i];
      items[i] = kept >> 32 << 32 | uint64_t{order.label(key)} << job.scores.keys.row_bits | order.row(key);
    }
  }
}

// A block per image: writes its best keep_top_k items, a block full at a time.
__global__ void __launch_bounds__(kMostThreads, 1) write_best_kernel(Suppression job, Groups groups) {
  GPU_SHARED(BlockMemory, memory, );
  const int64_t image = blockIdx.x, total = groups.total[image];
  const uint64_t* const items = groups.items + image * groups.room;
  const CandidateKeys& keys = job.scores.keys;
  const auto item_at = [&](int64_t i) { return items[i]; };
  int64_t written = 0;
  uint64_t from = job.best;
  for (bool more = true; more && written < job.keep_top_k;) {
    const uint32_t wanted = static_cast<uint32_t>(min2<int64_t>(blockDim.x, job.keep_top_k - written));
    const KeyRange range = block_select(item_at, total, wanted, from, kNoCandidate - 1, memory.bins);
    const int n = gather(memory, item_at, total, range);
    const uint64_t key =
        block_sort(static_cast<int>(threadIdx.x) < n ? memory.keys[threadIdx.x] : kNoCandidate, n, memory.exchange);
    if (static_cast<int>(threadIdx.x) < n) {
      job.put(image, written + threadIdx.x, job.boxes.box(image, keys.row(key)),
              key_score<float>(static_cast<uint32_t>(key >> 32)), keys.label(key) + 1);
    }
    written += n;
    from = range.last + 1;
    more = range.count == wanted;
  }
  job.finish(image, written);
}

}  // namespace

int64_t suppress_classes_workspace(int64_t images, int64_t anchors, int64_t classes) {
  Workspace memory;
  Groups(memory, images, anchors, classes);
  return memory.bytes();
}

void suppress_classes(const char* name, const Suppression& job, void* workspace, Stream stream) {
  constexpr int kThreads = 256;
  Workspace memory(workspace);
  const Groups groups(memory, job.images, job.anchors, job.classes);
  const auto run = [&](auto kernel, int64_t blocks, int64_t items) {
    launch(name, kernel, dim3(static_cast<unsigned>(blocks)), dim3(threads_for(items)), 0, stream, job, groups);
  };
  const dim3 grid = blocks_for(job.images * groups.room, kThreads);
  fill_zero(groups.count, static_cast<size_t>(groups.groups) * sizeof(uint32_t), stream);
  launch(name, count_kernel, grid, dim3(kThreads), 0, stream, job, groups);
  run(place_groups_kernel, job.images, job.classes);
  launch(name, place_items_kernel, grid, dim3(kThreads), 0, stream, job, groups);
  if (job.top_k_per_class < job.anchors) {
    run(limit_groups_kernel, groups.groups, job.anchors);
  }
  if (job.top_k < groups.room) {
    run(limit_images_kernel, job.images, groups.room);
  }
  run(suppress_classes_kernel, groups.groups, min2(job.anchors, job.top_k));
  run(write_best_kernel, job.images, max2(min2(job.keep_top_k, groups.room), groups.room / 16));
}

}  // namespace refinedet::cuda
