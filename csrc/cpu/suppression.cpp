#include "suppression.h"

#include "arena.h"
#include "buffer.h"
#include "greedy_nms.h"
#include "select_best.h"
#include "soft_nms.h"

namespace refinedet::cpu::REFINEDET_CPU_LEVEL {
namespace {

constexpr int64_t kMaxParts = 64;      // tasks that share the counters
constexpr int64_t kCounters = 2048;    // of one task: enough for radix_sort by one thread and select_best
constexpr int64_t kAloneBelow = 4096;  // candidates that are not worth waking threads
constexpr int64_t kInsertion = 24;     // items that are sorted by insertion
constexpr int64_t kPrefix = 4;         // candidates per detection that are tried before the others
static_assert(kCounters >= kSelectCounters);

// One image on its way. The items' keys are those of their scores, their indices those of the candidates.
template <class W>
struct Image {
  using Item = Keyed<typename ScoreKey<W>::type>;
  const Candidates<W>* from;
  int64_t limit;  // candidates that take part: top_k, or fewer where these may settle it
  int64_t count;  // items
  Item *items, *spare;
  int32_t* starts;    // (classes + 1,): class c has items[starts[c]] up to items[starts[c + 1]]
  int32_t* kept;      // (classes,): and of these the first kept[c] are left
  SoftList<W> list;   // the items' boxes; `area` is `share` of BoxColumns where the method is hard
  int64_t class_gap;  // rows between the classes in the list

  Image() = default;
  Image(const Candidates<W>& candidates, int64_t classes, const SuppressionSettings& settings, Arena& arena)
      : from(&candidates), limit(min2(candidates.count, settings.top_k)) {
    items = arena.take<Item>(candidates.count);
    spare = arena.take<Item>(candidates.count);
    starts = arena.take<int32_t>(classes + 1);
    kept = arena.take<int32_t>(classes);
    class_gap = settings.method == SuppressionMethod::hard ? 0 : kLanes<W>;
    const int64_t rows = limit + classes * class_gap;
    list.x1 = arena.take<W>(rows), list.y1 = arena.take<W>(rows);
    list.x2 = arena.take<W>(rows), list.y2 = arena.take<W>(rows);
    list.area = arena.take<W>(rows), list.score = arena.take<W>(rows);
    list.item = arena.take<uint32_t>(rows);
    if (settings.method == SuppressionMethod::hard && settings.keep_top_k < limit / kPrefix) {
      limit = settings.keep_top_k * kPrefix;
    }
  }
};

// Calls f(part, i) for i in [0, n); a part's calls follow one another on one thread.
template <class F>
void deal(int64_t n, const ParallelFor& parallel, const F& f) {
  const int64_t parts = min2(min2(n, kMaxParts), parallel.threads());
  parallel(parts, 1, [&](int64_t begin, int64_t end) {
    for (int64_t part = begin; part < end; ++part) {
      for (int64_t i = part; i < n; i += parts) {
        f(part, i);
      }
    }
  });
}

// Brings the items into the order of their classes, leaving the order within each class, and fills `starts`.
template <class W>
void group_by_class(Image<W>& image, int64_t classes) {
  const int32_t* labels = image.from->labels;
  int32_t* starts = image.starts;
  memset(starts, 0, static_cast<size_t>(classes + 1) * sizeof(int32_t));
  for (int64_t i = 0; i < image.count; ++i) {
    ++starts[labels[image.items[i].index] + 1];
  }
  for (int64_t c = 0; c < classes; ++c) {
    starts[c + 1] += starts[c];
  }
  for (int64_t i = 0; i < image.count; ++i) {
    image.spare[starts[labels[image.items[i].index]]++] = image.items[i];
  }
  for (int64_t c = classes; c > 0; --c) {  // each start has moved on to the next class's
    starts[c] = starts[c - 1];
  }
  starts[0] = 0;
  auto* const grouped = image.spare;
  image.spare = image.items;
  image.items = grouped;
}

// Leaves the best top_k_per_class of each class and of these the best `limit`, class by class, in the order of their
// rows.
template <class W>
void choose_candidates(Image<W>& image, int64_t classes, const SuppressionSettings& settings, uint32_t* counters) {
  image.count = image.from->count;
  for (int64_t i = 0; i < image.count; ++i) {
    image.items[i] = {score_key(image.from->scores[i]), static_cast<uint32_t>(i)};
  }
  const bool per_class = settings.top_k_per_class < image.count;
  if (per_class) {
    group_by_class(image, classes);
    int64_t count = 0;
    for (int64_t c = 0; c < classes; ++c) {
      auto* const first = image.items + image.starts[c];
      const int64_t size = select_best(first, image.starts[c + 1] - image.starts[c], settings.top_k_per_class, false,
                                       image.spare, counters);
      memmove(image.items + count, first, static_cast<size_t>(size) * sizeof(*first));
      count += size;
    }
    image.count = count;
  }
  // ties fall to the lower class: decided once the items stand in that order
  image.count = select_best(image.items, image.count, image.limit, !per_class, image.spare, counters);
  group_by_class(image, classes);
  if (image.count > image.limit) {
    image.count = select_best(image.items, image.count, image.limit, false, image.spare, counters);
    group_by_class(image, classes);
  }
}

// Stable, by key; the result lies in `items`, which may trade places with `spare`.
template <class Key>
void sort_items(Keyed<Key>*& items, Keyed<Key>*& spare, int64_t n, uint32_t* counters) {
  if (n > kInsertion) {
    return radix_sort(items, spare, n, 8 * sizeof(Key), counters, ParallelFor(nullptr, nullptr, 1));
  }
  for (int64_t i = 1; i < n; ++i) {
    const Keyed<Key> item = items[i];
    int64_t at = i;
    for (; at > 0 && items[at - 1].key > item.key; --at) {
      items[at] = items[at - 1];
    }
    items[at] = item;
  }
}

template <class W>
REFINEDET_HD Box<W> box_of(const Candidates<W>& candidates, uint32_t index) {
  return load_box(candidates.boxes + 4 * int64_t{candidates.rows[index]});
}

template <class W>
int64_t suppress_hard(const Image<W>& image, int64_t first, int64_t n, const IouTest<W>& test, int64_t limit,
                      uint32_t* counters, const ParallelFor& parallel) {
  auto *items = image.items + first, *spare = image.spare + first;
  sort_items(items, spare, n, counters);
  const SoftList<W>& list = image.list;
  const BoxColumns<W> columns = BoxColumns<W>{list.x1, list.y1, list.x2, list.y2, list.area}.from(first);
  for (int64_t i = 0; i < n; ++i) {
    columns.set(i, box_of(*image.from, items[i].index), test);
  }
  uint32_t* rows = list.item + first;
  const int64_t kept = greedy_nms(columns, n, test, limit, rows, parallel);
  for (int64_t i = 0; i < kept; ++i) {
    image.items[first + i] = items[rows[i]];  // rows[i] >= i
  }
  return kept;
}

template <class W>
int64_t suppress_soft(const Image<W>& image, int64_t first, int64_t n, int64_t gap, const IouTest<W>& test,
                      const SuppressionSettings& settings) {
  const SoftList<W>& all = image.list;
  const int64_t at = first + gap;
  const SoftList<W> list{all.x1 + at,   all.y1 + at,    all.x2 + at,  all.y2 + at,
                         all.area + at, all.score + at, all.item + at};
  auto* const items = image.items + first;
  for (int64_t i = 0; i < n; ++i) {
    list.set(i, box_of(*image.from, items[i].index), image.from->scores[items[i].index], items[i].index);
  }
  const W min_score = ceil_to<W>(settings.min_score);
  if (settings.method == SuppressionMethod::linear) {
    return soft_nms(list, n, LinearDecay<W>{test.threshold}, min_score, settings.keep_top_k, items);
  }
  const GaussianLanes<W> decay{GaussianDecay<W>(settings.sigma)};
  return soft_nms(list, n, decay, min_score, settings.keep_top_k, items);
}

template <class W>
void suppress_class(const Image<W>& image, int64_t c, const SuppressionSettings& settings, const IouTest<W>& test,
                    uint32_t* counters, const ParallelFor& parallel) {
  const int64_t first = image.starts[c], n = image.starts[c + 1] - first;
  const int64_t kept = settings.method == SuppressionMethod::hard
                           ? suppress_hard(image, first, n, test, settings.keep_top_k, counters, parallel)
                           : suppress_soft(image, first, n, c * image.class_gap, test, settings);
  image.kept[c] = static_cast<int32_t>(kept);
}

// The best keep_top_k over the classes.
template <class W>
int64_t write_kept(Image<W>& image, int64_t classes, int64_t keep_top_k, W* scores, int32_t* labels, int32_t* rows,
                   uint32_t* counters) {
  int64_t count = 0;
  for (int64_t c = 0; c < classes; ++c) {
    memmove(image.items + count, image.items + image.starts[c],
            static_cast<size_t>(image.kept[c]) * sizeof(*image.items));
    count += image.kept[c];
  }
  count = keep_top_k == 0 ? 0 : select_best(image.items, count, keep_top_k, false, image.spare, counters);
  sort_items(image.items, image.spare, count, counters);
  for (int64_t i = 0; i < count; ++i) {
    const auto item = image.items[i];
    scores[i] = key_score<W>(item.key);
    labels[i] = image.from->labels[item.index];
    rows[i] = image.from->rows[item.index];
  }
  return count;
}

// Chooses, suppresses and writes for the `open` images.
template <class W>
void run(Image<W>* images, const int64_t* open, int64_t open_count, int64_t classes,
         const SuppressionSettings& settings, const Kept<W>& kept, uint32_t* counters, const ParallelFor& parallel) {
  const IouTest<W> test(settings.iou_threshold);
  const ParallelFor alone(nullptr, nullptr, 1);
  deal(open_count, parallel, [&](int64_t part, int64_t i) {
    choose_candidates(images[open[i]], classes, settings, counters + part * kCounters);
  });
  // a class of several chunks by all threads, the others dealt out to them
  const auto is_large = [&](const Image<W>& image, int64_t c) {
    return parallel.threads() > 1 && settings.method == SuppressionMethod::hard &&
           image.starts[c + 1] - image.starts[c] > 2 * kChunk;
  };
  for (int64_t i = 0; i < open_count * classes && parallel.threads() > 1; ++i) {
    const Image<W>& image = images[open[i / classes]];
    if (is_large(image, i % classes)) {
      suppress_class(image, i % classes, settings, test, counters, parallel);
    }
  }
  deal(open_count * classes, parallel, [&](int64_t part, int64_t i) {
    const Image<W>& image = images[open[i / classes]];
    if (!is_large(image, i % classes)) {
      suppress_class(image, i % classes, settings, test, counters + part * kCounters, alone);
    }
  });
  deal(open_count, parallel, [&](int64_t part, int64_t i) {
    const int64_t b = open[i], at = b * settings.keep_top_k;
    kept.counts[b] = write_kept(images[b], classes, settings.keep_top_k, kept.scores + at, kept.labels + at,
                                kept.rows + at, counters + part * kCounters);
  });
}

}  // namespace

template <class W>
void suppress(const Candidates<W>* candidates, int64_t image_count, int64_t classes,
              const SuppressionSettings& settings, const Kept<W>& kept, const ParallelFor& parallel) {
  if (settings.keep_top_k == 0) {
    for (int64_t b = 0; b < image_count; ++b) {
      kept.counts[b] = 0;
    }
    return;
  }
  Arena measured(nullptr);
  int64_t total = 0;
  for (int64_t b = 0; b < image_count; ++b) {
    Image<W>(candidates[b], classes, settings, measured);
    total += candidates[b].count;
  }
  Buffer<char> memory(measured.used());
  Buffer<Image<W>> images(image_count);
  Buffer<int64_t> open(image_count);
  Arena arena(memory.data());
  for (int64_t b = 0; b < image_count; ++b) {
    images[b] = Image<W>(candidates[b], classes, settings, arena);
    open[b] = b;
  }
  const ParallelFor alone(nullptr, nullptr, 1);
  const ParallelFor& threads = total < kAloneBelow ? alone : parallel;
  Buffer<uint32_t> counters(min2(kMaxParts, threads.threads()) * kCounters);
  for (int64_t left = image_count; left > 0;) {
    run(images.data(), open.data(), left, classes, settings, kept, counters.data(), threads);
    // Greedy suppression decides about the best candidates without regard to the others: an image is settled where
    // they gave enough.
    int64_t unsettled = 0;
    for (int64_t i = 0; i < left; ++i) {
      Image<W>& image = images[open[i]];
      const int64_t most = min2(image.from->count, settings.top_k);
      if (kept.counts[open[i]] < settings.keep_top_k && image.count == image.limit && image.limit < most) {
        image.limit = most;
        open[unsettled++] = open[i];
      }
    }
    left = unsettled;
  }
}

template void suppress<float>(const Candidates<float>*, int64_t, int64_t, const SuppressionSettings&,
                              const Kept<float>&, const ParallelFor&);
template void suppress<double>(const Candidates<double>*, int64_t, int64_t, const SuppressionSettings&,
                               const Kept<double>&, const ParallelFor&);

}  // namespace refinedet::cpu::REFINEDET_CPU_LEVEL
