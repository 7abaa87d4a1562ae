#include "ops/multiclass_nms.h"

#include "core/threshold.h"
#include "cpu/runtime/buffer.h"
#include "cpu/runtime/level.h"
#include "cpu/simd/lanes.h"
#include "suppression.h"

namespace refinedet::cpu::REFINEDET_CPU_LEVEL {
namespace {

constexpr int64_t kWordBits = 64;
constexpr int64_t kPiece = 1024;       // words of 64 scores per task
constexpr int64_t kBoxes = 4096;       // to convert, per task
constexpr int64_t kCandidates = 4096;  // to read, per task

// The scores of an image, with the gaps between the rows of a strided table, as one sequence, a bit per score: set
// where it is a candidate's.
struct ScoreBits {
  int64_t span, words, pieces;  // scores, words and tasks of an image
  Buffer<uint64_t> bits;
  Buffer<int64_t> counts;    // of candidates, per task
  Buffer<uint64_t> columns;  // the bits that are no gap; repeats after `row_stride` words

  explicit ScoreBits(const MulticlassNmsArgs& args)
      : span(args.anchors * args.classes == 0 ? 0 : (args.anchors - 1) * args.score_row_stride + args.classes),
        words((span + kWordBits - 1) / kWordBits),
        pieces((words + kPiece - 1) / kPiece),
        bits(args.images * words),
        counts(args.images * pieces),
        columns(args.score_row_stride) {
    for (int64_t w = 0; w < args.score_row_stride; ++w) {
      columns[w] = 0;
      for (int64_t i = 0; i < kWordBits; ++i) {
        const bool inside = (w * kWordBits + i) % args.score_row_stride < args.classes;
        columns[w] |= static_cast<uint64_t>(inside) << i;
      }
    }
  }
};

// Bit i is set where p[i] > threshold, for `count` scores.
template <class T>
REFINEDET_HD uint64_t greater_word(const T* p, int64_t count, Accumulate<T> threshold) {
  using W = Accumulate<T>;
  alignas(kLaneBytes) W copy[kWordBits];
  const W* scores = copy;
  if constexpr (std::is_same_v<T, W>) {
    if (count == kWordBits) {
      scores = p;
    }
  }
  if (scores == copy) {
    for (int64_t i = 0; i < count; ++i) {
      copy[i] = load(p[i]);
    }
    for (int64_t i = count; i < kWordBits; ++i) {
      copy[i] = threshold;
    }
  }
  uint64_t word = 0;
  for (int i = 0; i < kWordBits; i += kLanes<W>) {
    word |= static_cast<uint64_t>(greater_bits(load_lanes(scores + i), all_lanes(threshold))) << i;
  }
  return word;
}

template <class T>
void find_candidates(const MulticlassNmsArgs& args, ScoreBits& found, const ParallelFor& parallel) {
  const T* all = static_cast<const T*>(args.scores);
  const Accumulate<T> threshold = floor_to<Accumulate<T>>(args.score_threshold);
  parallel(args.images * found.pieces, 1, [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) {
      const int64_t image = t / found.pieces, first = t % found.pieces * kPiece;
      const T* scores = all + image * args.score_image_stride;
      uint64_t* const bits = found.bits.data() + image * found.words;
      int64_t count = 0, column = first % args.score_row_stride;
      for (int64_t w = first; w < min2(first + kPiece, found.words); ++w) {
        const int64_t at = w * kWordBits;
        bits[w] = greater_word(scores + at, min2(kWordBits, found.span - at), threshold) & found.columns[column];
        column = column + 1 == args.score_row_stride ? 0 : column + 1;
        count += __builtin_popcountll(bits[w]);
      }
      found.counts[t] = count;
    }
  });
}

template <class T, class W>
void read_candidates(const MulticlassNmsArgs& args, const uint64_t* words, int64_t word_count, const T* table,
                     W* scores, int32_t* labels, int32_t* rows) {
  const uint32_t stride = static_cast<uint32_t>(args.score_row_stride);
  int64_t n = 0;
  for (int64_t w = 0; w < word_count; ++w) {
    for (uint64_t left = words[w]; left != 0; left &= left - 1) {
      const uint32_t at = static_cast<uint32_t>(w * kWordBits + __builtin_ctzll(left));
      scores[n] = static_cast<W>(load(table[at]));
      labels[n] = static_cast<int32_t>(at % stride);
      rows[n] = static_cast<int32_t>(at / stride);
      ++n;
    }
  }
}

// The boxes in W: themselves where that is their type, else a copy in `room`.
template <class T, class W>
const W* boxes_in(const MulticlassNmsArgs& args, Buffer<W>& room, const ParallelFor& parallel) {
  const T* boxes = static_cast<const T*>(args.boxes);
  if constexpr (std::is_same_v<T, W>) {
    return boxes;
  } else {
    W* copy = room.data();
    parallel(args.images * args.anchors, kBoxes, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        const T* from = boxes + i / args.anchors * args.box_image_stride + i % args.anchors * 4;
        for (int64_t side = 0; side < 4; ++side) {
          copy[4 * i + side] = static_cast<W>(load(from[side]));
        }
      }
    });
    return copy;
  }
}

template <class TBox, class TScore, class W>
void run(const MulticlassNmsArgs& args, const ScoreBits& found, const ParallelFor& parallel) {
  constexpr bool copied = !std::is_same_v<TBox, W>;
  const int64_t keep_top_k = args.settings.keep_top_k;
  Buffer<int64_t> offsets(args.images + 1);
  offsets[0] = 0;
  for (int64_t b = 0; b < args.images; ++b) {
    offsets[b + 1] = offsets[b];
    for (int64_t t = b * found.pieces; t < (b + 1) * found.pieces; ++t) {
      offsets[b + 1] += found.counts[t];
    }
  }
  Buffer<W> scores(offsets[args.images]);
  Buffer<int32_t> labels(offsets[args.images]), rows(offsets[args.images]);
  Buffer<W> box_room(copied ? args.images * args.anchors * 4 : 0);
  const W* boxes = boxes_in<TBox>(args, box_room, parallel);
  Buffer<Candidates<W>> candidates(args.images);
  for (int64_t b = 0; b < args.images; ++b) {
    const int64_t first = offsets[b];
    candidates[b] = {scores.data() + first, labels.data() + first, rows.data() + first, offsets[b + 1] - first,
                     boxes + b * (copied ? args.anchors * 4 : args.box_image_stride)};
  }
  const int64_t grain = 1 + args.images * kCandidates / (offsets[args.images] + 1);
  parallel(args.images, grain, [&](int64_t begin, int64_t end) {
    for (int64_t b = begin; b < end; ++b) {
      const int64_t first = offsets[b];
      read_candidates(args, found.bits.data() + b * found.words, found.words,
                      static_cast<const TScore*>(args.scores) + b * args.score_image_stride, scores.data() + first,
                      labels.data() + first, rows.data() + first);
    }
  });
  KeptMemory<W> memory(args.images, keep_top_k);
  const Kept<W> kept = memory.with(args.out_counts);
  suppress(candidates.data(), args.images, args.classes, args.settings, kept, parallel);
  write_detections(candidates.data(), args.images, kept, keep_top_k, static_cast<TBox*>(args.out_boxes),
                   static_cast<TScore*>(args.out_scores), args.out_labels, parallel,
                   [](const Box<W>& box) { return box; });
}

}  // namespace
}  // namespace refinedet::cpu::REFINEDET_CPU_LEVEL

namespace refinedet::cpu {

using namespace REFINEDET_CPU_LEVEL;

template <>
void kernel<kLevel>(const MulticlassNmsArgs& args, const ParallelFor& parallel) {
  ScoreBits found(args);
  dispatch_floating(args.score_dtype, [&]<class TScore>(Tag<TScore>) {
    find_candidates<TScore>(args, found, parallel);
    dispatch_floating(args.box_dtype, [&]<class TBox>(Tag<TBox>) {
      constexpr bool wide = std::is_same_v<TBox, double> || std::is_same_v<TScore, double>;
      run<TBox, TScore, std::conditional_t<wide, double, float>>(args, found, parallel);
    });
  });
}

}  // namespace refinedet::cpu
