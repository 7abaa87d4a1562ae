#include "ops/mined_cross_entropy.h"

#include "cpu/nms/class_scores.h"
#include "cpu/runtime/buffer.h"
#include "cpu/runtime/level.h"
#include "cpu/simd/flags.h"
#include "ops/mine_hard_negatives.h"

namespace refinedet::cpu::REFINEDET_CPU_LEVEL {
namespace {

constexpr int64_t kChunk = 2048;  // rows: enough for several groups where few count, and their gradients still cached

// f(first, rows, table) for chunks of at most kChunk of `total` rows, each thread with a table of its own for
// kGroup rows of `classes` columns.
template <class W, class F>
REFINEDET_HD void for_chunks(int64_t total, int64_t classes, const ParallelFor& parallel, const F& f) {
  constexpr int64_t kWorthThreads = 1 << 15;  // logits
  const int64_t chunks = (total + kChunk - 1) / kChunk;
  const int64_t shares = total * classes < kWorthThreads ? 1 : min2(parallel.threads(), chunks);
  Buffer<W> tables(kGroup * classes * shares);
  W* const first_table = tables.data();
  parallel(shares, 1, [&](int64_t begin, int64_t end) {
    for (int64_t share = begin; share < end; ++share) {
      for (int64_t chunk = chunks * share / shares; chunk < chunks * (share + 1) / shares; ++chunk) {
        const int64_t first = chunk * kChunk;
        f(first, min2(kChunk, total - first), first_table + kGroup * classes * share);
      }
    }
  });
}

REFINEDET_HD int64_t class_of(int64_t target) { return max2(target, int64_t{0}); }

// Asks for the rows of the next group, which lie scattered, while this one is worked on.
template <class T>
REFINEDET_HD void prefetch_rows(const T* logits, const int32_t* positions, int64_t n, int64_t classes) {
  constexpr int64_t kLine = 64 / sizeof(T);
  n = min2(int64_t{kGroup}, n);
  if (n > 0 && positions[n - 1] - positions[0] < 2 * kGroup) {
    return;  // close together: the processor sees them coming
  }
  for (int64_t k = 0; k < n; ++k) {
    const T* row = logits + classes * positions[k];
    for (int64_t c = 0; c < classes; c += kLine) {
      __builtin_prefetch(row + c);
    }
    __builtin_prefetch(row + classes - 1);
  }
}

// losses[i] of the rows that may count, positives and candidates; 0 of the others.
template <class T, class W>
REFINEDET_HD void row_losses(const T* logits, const int64_t* labels, const int64_t* targets, const uint8_t* eligible,
                             int64_t n, int64_t classes, W* table, W* losses) {
  uint8_t counts[kChunk];
  if (eligible == nullptr) {
    for (int64_t i = 0; i < n; ++i) {
      counts[i] = labels[i] >= 0;
    }
  } else {
    for (int64_t i = 0; i < n; ++i) {
      const uint8_t positive = labels[i] > 0, candidate = labels[i] == 0;
      counts[i] = positive | (candidate & eligible[i]);
    }
  }
  memset(losses, 0, static_cast<size_t>(n) * sizeof(W));
  int32_t positions[kChunk];
  const int64_t found = positions_of_set(counts, n, positions);
  for (int64_t at = 0; at < found; at += kGroup) {
    const int rows = static_cast<int>(min2(int64_t{kGroup}, found - at));
    prefetch_rows(logits, positions + at + rows, found - at - rows, classes);
    load_group(logits, positions + at, rows, classes, table);
    W top[kGroup], sum[kGroup];
    group_exponentials(table, classes, top, sum);
    for (int r = 0; r < kGroup; ++r) {
      sum[r] = log_positive(sum[r]);
    }
    for (int r = 0; r < rows; ++r) {
      const int64_t row = positions[at + r];
      losses[row] = sum[r] + (top[r] - load(logits[classes * row + class_of(targets[row])]));
    }
  }
}

// The targets were below `classes` in the forward pass; should they have been changed since, they still must not lead
// beyond the row.
template <class T>
REFINEDET_HD void row_gradients(Accumulate<T> grad, const T* logits, const int64_t* targets, const int32_t* positions,
                                int rows, int64_t classes, Accumulate<T>* table, T* grad_logits) {
  group_softmax(logits, positions, rows, classes, table);
  for (int r = 0; r < rows; ++r) {
    table[min2(class_of(targets[positions[r]]), classes - 1) * kGroup + r] -= Accumulate<T>(1);
  }
  for (int r = 0; r < rows; ++r) {
    T* row = grad_logits + classes * positions[r];
    for (int64_t c = 0; c < classes; ++c) {
      row[c] = round_to<T>(grad * table[c * kGroup + r]);
    }
  }
}

}  // namespace
}  // namespace refinedet::cpu::REFINEDET_CPU_LEVEL

namespace refinedet::cpu {

using namespace REFINEDET_CPU_LEVEL;

template <>
void kernel<kLevel>(const MinedCrossEntropyArgs& args, const ParallelFor& parallel) {
  dispatch_floating(args.dtype, [&]<class T>(Tag<T>) {
    using W = Accumulate<T>;
    const int64_t n = args.anchor_count, total = args.batch * n;
    const T* logits = static_cast<const T*>(args.logits);
    // bytes, because loads of bool do not vectorize
    const uint8_t* eligible = reinterpret_cast<const uint8_t*>(args.eligible);
    uint8_t* chosen = reinterpret_cast<uint8_t*>(args.chosen);
    Buffer<W> losses(total);
    for_chunks<W>(total, args.classes, parallel, [&](int64_t first, int64_t rows, W* table) {
      row_losses(logits + args.classes * first, args.labels + first, args.targets + first,
                 eligible == nullptr ? nullptr : eligible + first, rows, args.classes, table, losses.data() + first);
    });
    const DType dtype = sizeof(W) == sizeof(double) ? DType::f64 : DType::f32;
    const MineHardNegativesArgs mining{dtype, losses.data(), args.labels,        args.eligible, args.batch,
                                       n,     args.ratio,    args.min_negatives, args.chosen};
    kernel<kLevel>(mining, parallel);
    parallel(args.batch, max2(int64_t{1}, (int64_t{1} << 15) / max2(int64_t{1}, n)), [&](int64_t begin, int64_t end) {
      int32_t positions[kChunk];
      for (int64_t b = begin; b < end; ++b) {
        int64_t positives = 0, taken = 0;
        double sum = 0;  // in the anchors' order
        for (int64_t i = b * n; i < (b + 1) * n; ++i) {
          const uint8_t positive = args.labels[i] > 0;
          chosen[i] |= positive;
          positives += positive;
        }
        for (int64_t first = b * n; first < (b + 1) * n; first += kChunk) {
          const int64_t found = positions_of_set(chosen + first, min2(kChunk, (b + 1) * n - first), positions);
          for (int64_t k = 0; k < found; ++k) {
            sum += losses[first + positions[k]];
          }
          taken += found;
        }
        static_cast<W*>(args.loss)[b] = static_cast<W>(sum);
        args.positives[b] = positives;
        args.negatives[b] = taken - positives;
      }
    });
  });
}

template <>
void kernel<kLevel>(const MinedCrossEntropyBackwardArgs& args, const ParallelFor& parallel) {
  dispatch_floating(args.dtype, [&]<class T>(Tag<T>) {
    using W = Accumulate<T>;
    const int64_t n = args.anchor_count, classes = args.classes;
    const T* logits = static_cast<const T*>(args.logits);
    const W* grads = static_cast<const W*>(args.grad_loss);
    const uint8_t* chosen = reinterpret_cast<const uint8_t*>(args.chosen);
    T* grad_logits = static_cast<T*>(args.grad_logits);
    for_chunks<W>(args.batch * n, classes, parallel, [=](int64_t first, int64_t rows, W* table) {
      memset(static_cast<void*>(grad_logits + classes * first), 0, static_cast<size_t>(classes * rows) * sizeof(T));
      int32_t positions[kChunk];
      const int64_t found = positions_of_set(chosen + first, rows, positions);
      for (int64_t at = 0, some; at < found; at += some) {
        // rows of one image, which share a gradient
        const int64_t image = (first + positions[at]) / n;
        for (some = 1; some < kGroup && at + some < found && (first + positions[at + some]) / n == image; ++some) {
        }
        prefetch_rows(logits + classes * first, positions + at + some, found - at - some, classes);
        row_gradients(grads[image], logits + classes * first, args.targets + first, positions + at,
                      static_cast<int>(some), classes, table, grad_logits + classes * first);
      }
    });
  });
}

}  // namespace refinedet::cpu
