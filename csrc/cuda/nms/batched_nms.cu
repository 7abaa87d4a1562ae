// Floor: 32 bytes read and 8 written a box, nothing beside the launches (2 to 3 us each) and the serial steps of
// suppression (nms_groups.cu). So: few launches, and as many steps side by side as the groups allow. They are: zeros,
// keys, sort by score (2), sort by group (2), boxes in that order, suppression, result: nine from 2,049 to 4,096 boxes,
// seven below; and for more boxes than one block settles alone ceil(N / 4096) that end at once where no group is that
// large: 11 launches for 5,000 boxes, 13 for 16,320. nms has no sort by group, and ceil(N / 1024) launches from 1,025
// boxes on that all have work: 12 for 5,000 boxes.
// The numbers of groups are any 64-bit integers; a hash table gives each a slot of few bits, so that the second sort is
// as short as the number of boxes allows. The slots depend on who comes first, the result does not.
// About 100 bytes of workspace a box. Expected on an H200: 40 us for 5,000 boxes of 20 classes, 50 for 16,320 of 80; of
// one class 0.1 and 0.2 ms.
#include "batched_nms.h"
#include "core/score_key.h"
#include "cuda/primitives/pack.h"
#include "cuda/primitives/sort.h"
#include "cuda/primitives/workspace.h"
#include "nms_groups.h"

namespace refinedet::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int64_t kWriteThreads = 1024;
constexpr int kScoreBits = 32;

struct Memory {
  LargeGroups large{};
  uint32_t *table, *items, *order, *ranks;
  uint64_t *keys, *sorted_keys;
  void* sort;
  int64_t zero_bytes;
  int slot_bits = 0;  // 0: all boxes are one group

  Memory(const BatchedNmsArgs& args, const BatchedNmsPlan& plan, Workspace& workspace) {
    const int64_t n = args.count;
    NmsGroups& groups = large.groups;
    LargeState& state = large.state;
    state.alone = static_cast<int32_t>(plan.alone);
    state.step = static_cast<int32_t>(plan.step);
    state.room = static_cast<int32_t>(n / (plan.alone + 1));
    state.limit = INT32_MAX;
    if (args.idxs != nullptr) {
      for (slot_bits = 1; int64_t{1} << slot_bits < 2 * n;) {
        ++slot_bits;
      }
    }
    const int64_t slots = int64_t{1} << slot_bits;
    table = workspace.take<uint32_t>(slots);
    groups.kept = workspace.take<uint32_t>(divide_up(n, kWarp));
    groups.group_count = workspace.take<int32_t>(1);
    state.count = workspace.take<int32_t>(1);
    state.most = workspace.take<int32_t>(1);
    state.kept = workspace.take<int32_t>(2 * state.room);
    state.done = workspace.take<int32_t>(state.room);
    state.dead = workspace.take<uint32_t>(state.dead_words(n));
    zero_bytes = workspace.bytes();
    large.ranges = workspace.take<LargeGroups::Range>(state.room);
    groups.boxes = workspace.take<NmsBox>(n);
    groups.slots = workspace.take<uint32_t>(min2(n, slots));
    groups.first = workspace.take<int32_t>(slots);
    groups.last = workspace.take<int32_t>(slots);
    items = workspace.take<uint32_t>(n);
    order = workspace.take<uint32_t>(n);
    ranks = workspace.take<uint32_t>(n);
    keys = workspace.take<uint64_t>(n);
    sorted_keys = workspace.take<uint64_t>(n);
    sort = workspace.take<char>(sort_pairs_workspace(n));
  }
};

__device__ __forceinline__ uint32_t slot_of(uint64_t key) { return static_cast<uint32_t>(key >> kScoreBits); }

// The slot of row's group: the same for rows with equal numbers, and only for them. Once per number in a warp, or many
// rows of few groups would queue up at the table. For whole warps. `table` holds the row that came first, plus 1.
__device__ __forceinline__ uint32_t find_slot(const int64_t* idxs, int row, uint32_t* table, uint32_t last_slot) {
  const auto number = static_cast<unsigned long long>(idxs[row]);
  const int leader = __ffs(static_cast<int>(__match_any_sync(kAllLanes, number))) - 1;
  uint32_t slot = 0;
  if (lane_id() == leader) {
    uint64_t mixed = static_cast<uint64_t>(number) * 0x9e3779b97f4a7c15u;
    mixed = (mixed ^ mixed >> 32) * 0xd6e8feb86659fd93u;
    slot = static_cast<uint32_t>(mixed >> 32) & last_slot;
    for (;;) {
      const uint32_t found = atomicCAS(table + slot, 0u, static_cast<uint32_t>(row) + 1);
      if (found == 0 || static_cast<unsigned long long>(idxs[found - 1]) == number) {
        break;
      }
      slot = (slot + 1) & last_slot;
    }
  }
  return __shfl_sync(kAllLanes, slot, leader);
}

template <class T>
__global__ void make_keys_kernel(const T* scores, const int64_t* idxs, int count, uint32_t* table, uint32_t last_slot,
                                 uint64_t* keys, uint32_t* items) {
  for (int64_t start = grid_first() - threadIdx.x; start < count; start += grid_step()) {
    const int i = min2(static_cast<int>(start + threadIdx.x), count - 1);
    const uint64_t slot = idxs != nullptr ? find_slot(idxs, i, table, last_slot) : 0;
    if (start + threadIdx.x < count) {
      keys[i] = slot << kScoreBits | score_key(load(scores[i]));
      items[i] = static_cast<uint32_t>(i);
    }
  }
}

// The boxes in the order of their groups, and where each group starts and ends. `keys` and `ranks` are in that order.
template <bool aligned, class T>
__global__ void gather_kernel(const T* boxes, const uint64_t* keys, const uint32_t* ranks, const uint32_t* order,
                              int count, IouTest<float> test, NmsGroups groups) {
  for (int64_t start = grid_first() - threadIdx.x; start < count; start += grid_step()) {
    const int i = static_cast<int>(start + threadIdx.x);
    uint32_t slot = 0;
    bool starts = false;
    if (i < count) {
      slot = slot_of(keys[i]);
      starts = i == 0 || slot_of(keys[i - 1]) != slot;
      const uint32_t rank = ranks[i];
      const Box<float> box = load_box_row<aligned>(boxes + 4 * static_cast<int64_t>(order[rank]));
      groups.boxes[i] = {box, test.share_of(box), rank};
      if (starts) {
        groups.first[slot] = i;
      }
      if (i == count - 1 || slot_of(keys[i + 1]) != slot) {
        groups.last[slot] = i + 1;
      }
    }
    const unsigned starting = __ballot_sync(kAllLanes, starts);
    int place = 0;
    if (lane_id() == 0 && starting != 0) {
      place = atomicAdd(groups.group_count, __popc(starting));
    }
    place = __shfl_sync(kAllLanes, place, 0) + __popc(starting & lanes_below());
    if (starts) {
      groups.slots[place] = slot;
    }
  }
}

// A thread for each rank; a block counts the kept ones before its own itself, a bit each.
__global__ void write_kept_kernel(const uint32_t* kept, const uint32_t* order, int count, int64_t* keep,
                                  int64_t* keep_count) {
  const int threads = static_cast<int>(blockDim.x), thread = static_cast<int>(threadIdx.x);
  const int first = static_cast<int>(blockIdx.x) * threads, i = first + thread;
  uint64_t bits = 0;  // in the upper half those before, in the lower half all
  for (int word = thread; word < divide_up(count, kWarp); word += threads) {
    const auto here = static_cast<uint64_t>(__popc(kept[word]));
    bits += word < first / kWarp ? here << 32 | here : here;
  }
  uint64_t sums = 0;
  block_exclusive_scan(bits, &sums);
  const int before = static_cast<int>(sums >> 32), all = static_cast<int>(sums & 0xffffffffu);
  const bool mine = i < count && get_bit(kept, i);
  int unused = 0;
  const int place = before + block_exclusive_scan(mine ? 1 : 0, &unused);
  if (mine) {
    keep[place] = order[i];
  }
  if (i < count && i >= all) {
    keep[i] = -1;
  }
  if (i == 0) {
    *keep_count = all;
  }
}

template <class T>
void gather(const BatchedNmsArgs& args, const Memory& memory, const IouTest<float>& test, Stream stream) {
  const T* boxes = static_cast<const T*>(args.boxes);
  const bool grouped = memory.slot_bits > 0;
  const auto kernel = rows_aligned(boxes) ? gather_kernel<true, T> : gather_kernel<false, T>;
  launch("gather", kernel, blocks_for(args.count, kThreads), dim3(kThreads), 0, stream, boxes,
         grouped ? memory.keys : memory.sorted_keys, grouped ? memory.ranks : memory.items, memory.order,
         static_cast<int>(args.count), test, memory.large.groups);
}

// f(Tag<T>{}) for the element types that the kernels take.
template <class F>
void dispatch(DType dtype, const F& f) {
  switch (dtype) {
    case DType::f16:
      return f(Tag<Half>{});
    case DType::bf16:
      return f(Tag<BFloat16>{});
    case DType::f32:
      return f(Tag<float>{});
    case DType::f64:
      throw std::invalid_argument("batched_nms: float64 is for the CPU");
  }
}

}  // namespace

BatchedNmsPlan batched_nms_plan(const BatchedNmsArgs& args) {
  // Small steps mean less work for the block that settles a step, large ones fewer launches. A launch counts where most
  // do nothing: with groups, of which few are large, and as few boxes as detectors have.
  if (args.idxs == nullptr) {
    return {1024, 1024};
  }
  return {4096, args.count <= 32768 ? 4096 : 2048};
}

int64_t batched_nms_workspace_by(const BatchedNmsPlan& plan, const BatchedNmsArgs& args) {
  Workspace workspace;
  const Memory memory(args, plan, workspace);
  return workspace.bytes();
}

void batched_nms_by(const BatchedNmsPlan& plan, const BatchedNmsArgs& args, void* workspace, Stream stream) {
  const int64_t n = args.count;
  if (n == 0) {
    return fill_zero(args.keep_count, sizeof(int64_t), stream);
  }
  Workspace pieces(workspace);
  const Memory memory(args, plan, pieces);
  const int count = static_cast<int>(n);
  const IouTest<float> test(args.iou_threshold);
  fill_zero(workspace, static_cast<size_t>(memory.zero_bytes), stream);
  dispatch(args.score_dtype, [&]<class T>(Tag<T>) {
    launch("make_keys", make_keys_kernel<T>, blocks_for(n, kThreads), dim3(kThreads), 0, stream,
           static_cast<const T*>(args.scores), args.idxs, count, memory.table,
           static_cast<uint32_t>((int64_t{1} << memory.slot_bits) - 1), memory.keys, memory.items);
  });
  sort_pairs(memory.keys, memory.sorted_keys, memory.items, memory.order, n, 0, kScoreBits, memory.sort, stream);
  if (memory.slot_bits > 0) {
    sort_pairs(memory.sorted_keys, memory.keys, memory.items, memory.ranks, n, kScoreBits,
               kScoreBits + memory.slot_bits, memory.sort, stream);
  }
  dispatch(args.box_dtype, [&]<class T>(Tag<T>) { gather<T>(args, memory, test, stream); });
  settle_groups(memory.large, n, test, stream);
  if (n > plan.alone) {
    settle_large("settle_large_groups", memory.large, n, test, stream);
  }
  launch("write_kept", write_kept_kernel, dim3(static_cast<unsigned>(divide_up(n, kWriteThreads))), dim3(kWriteThreads),
         0, stream, memory.large.groups.kept, memory.order, count, args.keep, args.keep_count);
}

int64_t batched_nms_workspace(const BatchedNmsArgs& args) {
  return batched_nms_workspace_by(batched_nms_plan(args), args);
}

void batched_nms(const BatchedNmsArgs& args, void* workspace, Stream stream) {
  batched_nms_by(batched_nms_plan(args), args, workspace, stream);
}

}  // namespace refinedet::cuda
