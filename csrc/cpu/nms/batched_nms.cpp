#include "ops/batched_nms.h"

#include "cpu/runtime/buffer.h"
#include "cpu/runtime/level.h"
#include "hard_suppression.h"
#include "keyed_sort.h"

namespace refinedet::cpu::REFINEDET_CPU_LEVEL {
namespace {

constexpr int64_t kGrain = 8192;  // boxes per task of one pass over all

constexpr int64_t kBinned = 4096;  // boxes that bins sort faster than digits do: beyond, too many branches are missed

// Sorts the keys of n scores, n >= 1, unless too many fall together. `items` has room for one more.
template <class T, class Key>
bool sort_in_bins(const T* scores, int64_t n, Key* keys, uint32_t* counters, Keyed<Key>* items) {
  for (int64_t i = 0; i < n; ++i) {
    keys[i] = score_key(load(scores[i]));
  }
  const Bins<Key> bins = make_bins(keys, n, n, counters);
  if (bins.crowded) {
    return false;
  }
  distribute(keys, n, bins, counters, items);
  insertion_sort(items, n, [](uint32_t a, uint32_t b) { return a < b; });
  return true;
}

// The rows from the best score on; ties by row.
void sort_by_score(const BatchedNmsArgs& args, uint32_t* order, const ParallelFor& parallel) {
  dispatch_floating(args.score_dtype, [&]<class T>(Tag<T>) {
    using Key = typename ScoreKey<Accumulate<T>>::type;
    const T* scores = static_cast<const T*>(args.scores);
    Buffer<Keyed<Key>> first(args.count + 1), second(args.count);
    Buffer<uint32_t> counters(max2(kBinCounters, radix_counters(args.count)));
    Keyed<Key>*items = first.data(), *spare = second.data();
    if (args.count <= kBinned &&
        sort_in_bins(scores, args.count, reinterpret_cast<Key*>(spare), counters.data(), items)) {
      for (int64_t i = 0; i < args.count; ++i) {
        order[i] = items[i].index;
      }
      return;
    }
    parallel(args.count, kGrain, [=](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        items[i] = {score_key(load(scores[i])), static_cast<uint32_t>(i)};
      }
    });
    radix_sort(items, spare, args.count, 8 * sizeof(Key), counters.data(), parallel);
    parallel(args.count, kGrain, [=](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        order[i] = items[i].index;
      }
    });
  });
}

// `ranks`: the places in `order`, group by group, rising within each. Returns the first place of each group in `ranks`,
// and the end of the last.
template <class Key>
int64_t sort_by_group(const BatchedNmsArgs& args, int64_t lowest, uint64_t range, const uint32_t* order,
                      uint32_t* ranks, int32_t* starts, const ParallelFor& parallel) {
  const int64_t n = args.count;
  Buffer<Keyed<Key>> first(n), second(n);
  Buffer<uint32_t> counters(radix_counters(n));
  Keyed<Key>*items = first.data(), *spare = second.data();
  const int64_t* idxs = args.idxs;
  parallel(n, kGrain, [=](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const uint64_t offset = static_cast<uint64_t>(idxs[order[i]]) - static_cast<uint64_t>(lowest);
      items[i] = {static_cast<Key>(offset), static_cast<uint32_t>(i)};
    }
  });
  radix_sort(items, spare, n, 64 - __builtin_clzll(range), counters.data(), parallel);
  int64_t groups = 0;
  for (int64_t i = 0; i < n; ++i) {
    ranks[i] = items[i].index;
    if (i == 0 || items[i].key != items[i - 1].key) {
      starts[groups++] = static_cast<int32_t>(i);
    }
  }
  starts[groups] = static_cast<int32_t>(n);
  return groups;
}

int64_t find_groups(const BatchedNmsArgs& args, const uint32_t* order, uint32_t* ranks, int32_t* starts,
                    const ParallelFor& parallel) {
  int64_t lowest = 0, highest = 0;
  if (args.idxs != nullptr) {
    lowest = highest = args.idxs[0];
    for (int64_t i = 1; i < args.count; ++i) {
      lowest = min2(lowest, args.idxs[i]);
      highest = max2(highest, args.idxs[i]);
    }
  }
  const uint64_t range = static_cast<uint64_t>(highest) - static_cast<uint64_t>(lowest);
  if (range == 0) {
    for (int64_t i = 0; i < args.count; ++i) {
      ranks[i] = static_cast<uint32_t>(i);
    }
    starts[0] = 0, starts[1] = static_cast<int32_t>(args.count);
    return 1;
  }
  if (range <= UINT32_MAX) {
    return sort_by_group<uint32_t>(args, lowest, range, order, ranks, starts, parallel);
  }
  return sort_by_group<uint64_t>(args, lowest, range, order, ranks, starts, parallel);
}

template <class T>
void suppress_groups(const BatchedNmsArgs& args, const uint32_t* order, const uint32_t* ranks, const int32_t* starts,
                     int64_t groups, bool* kept, const ParallelFor& parallel) {
  using W = Accumulate<T>;
  const int64_t n = args.count;
  const T* boxes = static_cast<const T*>(args.boxes);
  const IouTest<W> test(args.iou_threshold);
  Buffer<W> memory(5 * n);
  Buffer<uint32_t> memory_rows(n);
  const BoxColumns<W> columns{memory.data(), memory.data() + n, memory.data() + 2 * n, memory.data() + 3 * n,
                              memory.data() + 4 * n};
  uint32_t* rows = memory_rows.data();
  parallel(n, kGrain, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      columns.set(i, load_box(boxes + 4 * int64_t{order[ranks[i]]}), test);
      kept[i] = false;
    }
  });
  const auto suppress_group = [&](int64_t group, const ParallelFor& threads, KeptGrid<W>* grid) {
    const int64_t first = starts[group], size = starts[group + 1] - first;
    const int64_t count = greedy_nms(columns.from(first), size, test, size, rows + first, threads, grid);
    for (int64_t i = 0; i < count; ++i) {
      kept[ranks[first + rows[first + i]]] = true;
    }
  };
  // groups of several chunks one by one by all threads, the others dealt out to the threads
  const bool share_groups = groups > 1 && n > kChunk;
  const auto is_large = [&](int64_t group) { return starts[group + 1] - starts[group] > 2 * kChunk; };
  int64_t largest = 0;
  for (int64_t group = 0; group < groups; ++group) {
    largest = max2<int64_t>(largest, is_large(group) ? starts[group + 1] - starts[group] : 0);
  }
  KeptGrid<W> grid(KeptGrid<W>::suits(test.threshold) ? largest : 0, test.threshold);
  for (int64_t group = 0; group < groups; ++group) {
    if (!share_groups || is_large(group)) {
      suppress_group(group, parallel, grid.empty() ? nullptr : &grid);
    }
  }
  if (share_groups) {
    const int64_t parts = min2(groups, parallel.threads());
    parallel(parts, 1, [&](int64_t begin, int64_t end) {
      const ParallelFor alone(nullptr, nullptr, 1);
      for (int64_t part = begin; part < end; ++part) {
        for (int64_t group = part; group < groups; group += parts) {
          if (!is_large(group)) {
            suppress_group(group, alone, nullptr);
          }
        }
      }
    });
  }
}

}  // namespace
}  // namespace refinedet::cpu::REFINEDET_CPU_LEVEL

namespace refinedet::cpu {

using namespace REFINEDET_CPU_LEVEL;

template <>
void kernel<kLevel>(const BatchedNmsArgs& args, const ParallelFor& parallel) {
  const int64_t n = args.count;
  *args.keep_count = 0;
  if (n == 0) {
    return;
  }
  Buffer<uint32_t> order(n), ranks(n);
  Buffer<int32_t> starts(n + 1);
  Buffer<bool> kept(n);
  sort_by_score(args, order.data(), parallel);
  const int64_t groups = find_groups(args, order.data(), ranks.data(), starts.data(), parallel);
  dispatch_floating(args.box_dtype, [&]<class T>(Tag<T>) {
    suppress_groups<T>(args, order.data(), ranks.data(), starts.data(), groups, kept.data(), parallel);
  });
  int64_t count = 0;
  for (int64_t rank = 0; rank < n; ++rank) {
    if (kept[rank]) {
      args.keep[count++] = order[rank];
    }
  }
  *args.keep_count = count;
}

}  // namespace refinedet::cpu
