#include "suppression.h"

#include <algorithm>

#include "buffer.h"

namespace refinedet::cpu::REFINEDET_CPU_LEVEL {
namespace {

template <class W>
struct Item {
  W score;
  int32_t label, row;
  bool alive;
};

template <class W>
REFINEDET_HD bool before(const Item<W>& a, const Item<W>& b) {
  return a.score != b.score ? a.score > b.score : a.label != b.label ? a.label < b.label : a.row < b.row;
}

template <class W>
REFINEDET_HD W overlap(const Candidates<W>& image, const Item<W>& a, const Item<W>& b) {
  const Box<W> p = load_box(image.boxes + 4 * int64_t{a.row}), q = load_box(image.boxes + 4 * int64_t{b.row});
  return iou(p, area(p), q, area(q));
}

template <class W>
int64_t suppress_image(const Candidates<W>& image, int64_t classes, const SuppressionSettings& settings,
                       Item<W>* items, int64_t* taken, W* scores, int32_t* labels, int32_t* rows) {
  int64_t n = image.count;
  for (int64_t i = 0; i < n; ++i) {
    items[i] = {image.scores[i], image.labels[i], image.rows[i], true};
  }
  std::sort(items, items + n, [](const Item<W>& a, const Item<W>& b) { return before(a, b); });
  for (int64_t c = 0; c < classes; ++c) {
    taken[c] = 0;
  }
  int64_t m = 0;
  for (int64_t i = 0; i < n && m < settings.top_k; ++i) {
    if (taken[items[i].label]++ < settings.top_k_per_class) {
      items[m++] = items[i];
    }
  }
  n = m;
  const bool hard = settings.method == SuppressionMethod::hard;
  const W min_score = static_cast<W>(settings.min_score), sigma = static_cast<W>(settings.sigma);
  m = 0;
  for (int64_t i = 0; i < n; ++i) {
    if (!hard) {
      int64_t best = i;
      for (int64_t j = i + 1; j < n; ++j) {
        best = before(items[j], items[best]) ? j : best;
      }
      std::swap(items[i], items[best]);
    }
    const Item<W> picked = items[i];
    if (!picked.alive || (!hard && !(picked.score >= min_score))) {
      continue;
    }
    items[m++] = picked;
    for (int64_t j = i + 1; j < n; ++j) {
      if (items[j].label == picked.label) {
        const W shared = overlap(image, picked, items[j]);
        if (hard) {
          items[j].alive = items[j].alive && !(static_cast<double>(shared) > settings.iou_threshold);
        } else if (settings.method == SuppressionMethod::linear) {
          items[j].score *= static_cast<double>(shared) > settings.iou_threshold ? 1 - shared : W(1);
        } else {
          items[j].score *= exp_bounded(max2(W(-87), -(shared * shared) / sigma));
        }
      }
    }
  }
  m = min2(m, settings.keep_top_k);
  for (int64_t i = 0; i < m; ++i) {
    scores[i] = items[i].score, labels[i] = items[i].label, rows[i] = items[i].row;
  }
  return m;
}

}  // namespace

template <class W>
void suppress(const Candidates<W>* images, int64_t image_count, int64_t classes, const SuppressionSettings& settings,
              const Kept<W>& kept, const ParallelFor&) {
  for (int64_t b = 0; b < image_count; ++b) {
    Buffer<Item<W>> items(images[b].count);
    Buffer<int64_t> taken(classes);
    const int64_t at = b * settings.keep_top_k;
    kept.counts[b] = suppress_image(images[b], classes, settings, items.data(), taken.data(), kept.scores + at,
                                    kept.labels + at, kept.rows + at);
  }
}

template void suppress<float>(const Candidates<float>*, int64_t, int64_t, const SuppressionSettings&,
                              const Kept<float>&, const ParallelFor&);
template void suppress<double>(const Candidates<double>*, int64_t, int64_t, const SuppressionSettings&,
                               const Kept<double>&, const ParallelFor&);

}  // namespace refinedet::cpu::REFINEDET_CPU_LEVEL
