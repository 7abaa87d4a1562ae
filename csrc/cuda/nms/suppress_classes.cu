// Suppression without a limit on the candidates of an image, or with one that is larger than a block or holds for each
// class. The candidates of each (image, class) come to stand together: counted, then placed, in two passes over the
// table, so that nothing has to be sorted as a whole and the work grows with the candidates, not with their room. A
// block then suppresses each group of at most 1,024, as with the settings of the RefineDet release (the best 1,000 of
// each class), in shared memory; larger ones are sorted before, and by the hard method settled, by several blocks
// (large_classes.cu). What is kept is listed, so that the best of it are found among few. The limits are found by
// selection, one block per class or image: 10 us for 16,320 candidates, but 0.4 ms for the top_k of 1.3 million. 6
// launches, 8 with both limits, and those of large_classes.cu where a class may have as many; for 8 images of 16,320
// anchors and 80 classes the two passes over the table are 40 MB each, about 10 us, and the memory for a candidate per
// score is 84 MB (twice that where a class may be large). Expected there, with 10,000 candidates an image: 50 us.
//
// The soft methods pick one after the other in any case, 1 us a pick by one block: of a large class only those
// candidates take part whose first score is above the present best, as scores only fall.
#include "class_groups.h"

namespace refinedet::cuda {
namespace {

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

__global__ void count_kernel(Suppression job, ClassGroups groups) {
  for_candidates(job, groups.room, [&](int64_t image, uint64_t key) {
    atomicAdd(&groups.count[image * job.classes + job.scores.keys.label(key)], 1u);
  });
}

// A block per image.
__global__ void __launch_bounds__(kMostThreads, 1) place_groups_kernel(Suppression job, ClassGroups groups) {
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
      if (groups.is_large(at + mine)) {
        const LargeState& state = groups.large.state;
        groups.large.list[atomicAdd(state.count, 1)] = static_cast<uint32_t>(at + mine);
        atomicMax(state.most, static_cast<int32_t>(groups.count[at + mine]));
      }
    }
    before += sum;
  }
  if (threadIdx.x == 0) {
    groups.total[blockIdx.x] = before;
    groups.last[blockIdx.x] = job.worst;
  }
}

__global__ void place_items_kernel(Suppression job, ClassGroups groups) {
  for_candidates(job, groups.room, [&](int64_t image, uint64_t key) {
    const uint32_t to = atomicAdd(&groups.next[image * job.classes + job.scores.keys.label(key)], 1u);
    groups.items[image * groups.room + to] = key;
  });
}

// A block per group: leaves its best top_k_per_class.
__global__ void __launch_bounds__(kMostThreads, 1) limit_groups_kernel(Suppression job, ClassGroups groups) {
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
__global__ void __launch_bounds__(kMostThreads, 1) limit_images_kernel(Suppression job, ClassGroups groups) {
  GPU_SHARED(uint32_t, bins, [kSelectBins]);
  const uint64_t* const items = groups.items + blockIdx.x * groups.room;
  const KeyRange best = block_select([&](int64_t i) { return items[i]; }, groups.total[blockIdx.x],
                                     static_cast<uint32_t>(job.top_k), job.best, job.worst, bins);
  if (threadIdx.x == 0) {
    groups.last[blockIdx.x] = best.last;
  }
}

// Soft suppression of n sorted items of any number: moves the picked ones to the front, best first, keyed by the scores
// they had then, and returns their number. Only those whose first score is above the present best of the others, or
// was above an earlier one, take part in a pick: as scores only fall, none of the others can be it. The caller's
// barrier is before it reads the items.
template <class BoxOf>
__device__ __forceinline__ int64_t suppress_many(BlockMemory& memory, uint64_t* items, int64_t n,
                                                 const CandidateKeys& keys, const BoxOf& box_of,
                                                 const SoftRules& rules) {
  constexpr int kTogether = 128;  // picks between two barriers, at most as many as there are threads
  const int thread = static_cast<int>(threadIdx.x), threads = static_cast<int>(blockDim.x);
  uint64_t mine = kNoCandidate;  // the best item of this thread, and
  int64_t mine_at = 0;           // where it stands
  const auto see = [&](uint64_t key, int64_t at) {
    mine_at = key < mine ? at : mine_at;
    mine = min2(key, mine);
  };
  int64_t picked = 0, active = 0;  // items that take part, the picked ones among them
  // Has as many further items as there are threads take part, with what the picks so far make of their scores.
  const auto join = [&] {
    const int64_t i = active + thread;
    uint64_t key = i < n ? items[i] : kNoCandidate;
    const Box<float> box = i < n ? box_of(keys.row(key)) : Box<float>{0, 0, 0, 0};
    const float box_area = area(box);
    for (int64_t first = 0; first < picked; first += kTogether) {
      const int some = static_cast<int>(min2<int64_t>(kTogether, picked - first));
      if (thread < some) {
        memory.boxes[thread] = box_of(keys.row(items[first + thread]));
        memory.area[thread] = area(memory.boxes[thread]);
      }
      __syncthreads();
      for (int k = 0; k < some && key != kNoCandidate; ++k) {
        key = decayed(key, box, box_area, memory.boxes[k], memory.area[k], rules);
      }
      __syncthreads();
    }
    if (i < n) {
      items[i] = key;
      see(key, i);
    }
    active = min2(active + threads, n);
  };
  for (; picked < rules.limit; ++picked) {
    uint64_t best = block_min(mine);
    while (active < n && items[active] < best) {
      __syncthreads();  // the next one to take part is seen by all
      join();
      best = block_min(mine);
    }
    if (!can_be_picked(best, rules)) {
      break;
    }
    if (mine == best) {
      items[mine_at] = items[picked];
      items[picked] = best;
    }
    __syncthreads();
    const Box<float> box = box_of(keys.row(best));
    const float box_area = area(box);
    mine = kNoCandidate;
    for (int64_t i = picked + 1 + thread; i < active; i += threads) {
      uint64_t key = items[i];
      if (key != kNoCandidate) {
        const Box<float> other = box_of(keys.row(key));
        items[i] = key = decayed(key, other, area(other), box, box_area, rules);
        see(key, i);
      }
    }
  }
  return picked;
}

// Room for `number` kept items of an image, for the whole block.
__device__ __forceinline__ uint64_t* take_kept(const ClassGroups& groups, int64_t image, uint32_t number) {
  GPU_SHARED(uint32_t, place, [1]);
  if (threadIdx.x == 0) {
    place[0] = atomicAdd(&groups.kept_count[image], number);
  }
  __syncthreads();
  return groups.kept + image * groups.kept_room + place[0];
}

// A block per group: lists the items that are kept, with the scores they were picked with.
__global__ void __launch_bounds__(kMostThreads, 1) suppress_classes_kernel(Suppression job, ClassGroups groups) {
  GPU_SHARED(BlockMemory, memory, );
  const int64_t group = blockIdx.x, image = group / job.classes;
  const uint32_t n = groups.count[group];
  if (n == 0) {
    return;
  }
  uint64_t* const items = groups.items + image * groups.room + groups.first[group];
  const auto box_of = [&](uint32_t row) { return job.boxes.box(image, row); };
  const bool hard = job.rules.method == SuppressionMethod::hard;
  if (groups.is_large(group)) {
    const int size = static_cast<int>(groups.large.size[group]);
    const int64_t picked = hard ? groups.large.state.kept_of(static_cast<int>(group), size)
                                : suppress_many(memory, items, size, job.scores.keys, box_of, job.rules.soft);
    uint64_t* const kept = take_kept(groups, image, static_cast<uint32_t>(picked));
    for (int64_t i = threadIdx.x; i < picked; i += blockDim.x) {
      kept[i] = items[i];
    }
    return;
  }
  const uint64_t last = groups.last[image];
  const auto item_at = [&](int64_t i) { return items[i]; };
  uint32_t mine = 0, left = 0;  // items that take part
  for (uint32_t i = threadIdx.x; i < n; i += blockDim.x) {
    const bool takes_part = items[i] <= last;
    mine += takes_part ? 1 : 0;
    if (!takes_part) {
      items[i] = kNoCandidate;
    }
  }
  block_exclusive_scan(mine, &left);
  gather(memory, item_at, n, {job.best, job.worst, left});
  const ClassOrder order{job.scores.keys, !hard};
  const uint64_t mine_kept = suppress_block(memory, static_cast<int>(left), order, box_of, job.rules);
  uint32_t number = 0;
  const uint32_t before = block_exclusive_scan(mine_kept != kNoCandidate ? uint32_t{1} : uint32_t{0}, &number);
  uint64_t* const kept = take_kept(groups, image, number);
  if (mine_kept != kNoCandidate) {
    const uint64_t key = memory.keys[threadIdx.x];
    kept[before] = mine_kept >> 32 << 32 | uint64_t{order.label(key)} << job.scores.keys.row_bits | order.row(key);
  }
}

// A block per image: writes its best keep_top_k kept items, a block full at a time.
__global__ void __launch_bounds__(kMostThreads, 1) write_best_kernel(Suppression job, ClassGroups groups) {
  GPU_SHARED(BlockMemory, memory, );
  const int64_t image = blockIdx.x, total = groups.kept_count[image];
  const uint64_t* const items = groups.kept + image * groups.kept_room;
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

int64_t suppress_classes_workspace(int64_t images, int64_t anchors, int64_t classes,
                                   const SuppressionSettings& settings) {
  Workspace memory;
  ClassGroups(memory, images, anchors, classes, settings);
  return memory.bytes();
}

void suppress_classes(const char* name, const Suppression& job, const SuppressionSettings& settings, void* workspace,
                      Stream stream) {
  constexpr int kThreads = 256;
  Workspace memory(workspace);
  const ClassGroups groups(memory, job.images, job.anchors, job.classes, settings);
  const auto run = [&](auto kernel, int64_t blocks, int64_t items) {
    launch(name, kernel, dim3(static_cast<unsigned>(blocks)), dim3(threads_for(items)), 0, stream, job, groups);
  };
  const dim3 grid = blocks_for(job.images * groups.room, kThreads);
  fill_zero(groups.count, groups.zero_bytes, stream);
  launch(name, count_kernel, grid, dim3(kThreads), 0, stream, job, groups);
  run(place_groups_kernel, job.images, job.classes);
  launch(name, place_items_kernel, grid, dim3(kThreads), 0, stream, job, groups);
  if (job.top_k_per_class < job.anchors) {
    run(limit_groups_kernel, groups.groups, job.anchors);
  }
  if (job.top_k < groups.room) {
    run(limit_images_kernel, job.images, groups.room);
  }
  if (groups.any_large) {
    settle_large_classes(name, job, groups, LargeClasses::most_of(job.anchors, settings), stream);
  }
  run(suppress_classes_kernel, groups.groups, min2(job.anchors, job.top_k));
  run(write_best_kernel, job.images, max2(min2(job.keep_top_k, groups.room), groups.kept_room / 16));
}

}  // namespace refinedet::cuda
