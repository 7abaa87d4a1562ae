#include "ops/detect.h"

#include "best_first.h"
#include "class_scores.h"
#include "core/threshold.h"
#include "cpu/boxes/box_blocks.h"
#include "cpu/matching/anchor_filter.h"
#include "cpu/runtime/buffer.h"
#include "cpu/runtime/level.h"
#include "suppression.h"

namespace refinedet::cpu::REFINEDET_CPU_LEVEL {
namespace {

constexpr int64_t kPiece = 8192;  // anchors of a task

// What is worth another thread, about 20 microseconds: so many pieces to look through, so many kept anchors to work on.
constexpr int64_t kPieceGrain = 4, kSurvivorGrain = 512;

// A task's share of an image's anchors.
struct Piece {
  int64_t image, first, anchors;
  int64_t kept;        // those that pass the first stage
  int64_t row;         // where they stand among all that do, and
  int64_t image_row;   // where those of their image begin
  int64_t candidates;  // what they gave,
  int64_t place;       // and where that stands among the candidates of all
};

template <class W>
struct Scratch {
  Buffer<W> boxes;   // (kept, 4), of those that gave candidates
  Buffer<W> scores;  // candidates as they are found: room for all classes of each kept anchor
  Buffer<int32_t> labels, rows;
  Buffer<W> margins;       // per kept anchor
  Buffer<int32_t> order;   // kept anchors as they are looked at, then those that gave candidates
  Buffer<int32_t> starts;  // per kept anchor: where its candidates begin among those of its piece
  int64_t classes;

  Scratch(int64_t kept, int64_t classes)
      : boxes(kept * 4),
        scores(kept * classes),
        labels(kept * classes),
        rows(kept * classes),
        margins(kept),
        order(kept),
        starts(kept),
        classes(classes) {}

  // Where the candidates of the kept anchors from `row` on begin.
  CandidateList<W> list_at(int64_t row) {
    return {scores.data() + row * classes, labels.data() + row * classes, rows.data() + row * classes};
  }
};

// What a score must exceed. It rises as soon as there are more better candidates than can take part in the
// suppression, so that anchors which cannot reach it any more cost no softmax.
template <class W>
class Bar {
 public:
  explicit Bar(const DetectArgs& args)
      : threshold_(floor_to<W>(args.score_threshold)),
        reach_(static_cast<W>(reach_of(args.score_threshold))),
        all_reach_(args.score_threshold <= 0),  // also what lies infinitely far below the background
        // a limit per class takes candidates away from those of the image, so that worse ones move up
        most_(args.settings.top_k_per_class < args.settings.top_k ? kNoLimit : args.settings.top_k),
        last_(bin_of(min2(max2(W(0), threshold_), W(1)))) {
    memset(counts_, 0, sizeof(counts_));
  }

  W threshold() const { return threshold_; }
  // Whether an anchor whose logits have this margin can have such a score.
  bool within_reach(W margin) const { return margin > reach_ || all_reach_; }

  // Takes note of n more scores above the threshold.
  void raise(const W* scores, int64_t n) {
    if (most_ == kNoLimit) {
      return;
    }
    for (int64_t i = 0; i < n; ++i) {
      const int64_t bin = bin_of(scores[i]);
      ++counts_[bin];
      within_ += bin <= last_ ? 1 : 0;
    }
    if (within_ - counts_[last_] < most_) {
      return;
    }
    do {
      within_ -= counts_[last_--];
    } while (within_ - counts_[last_] >= most_);
    const Bits below = kOne - (static_cast<Bits>(last_ + 1) << kShift);  // the number under the last bin's lowest
    W score;
    memcpy(&score, &below, sizeof(score));
    threshold_ = max2(threshold_, score);
    reach_ = static_cast<W>(reach_of(static_cast<double>(threshold_)));
    all_reach_ = threshold_ <= 0;
  }

  // Of n candidates leaves those above the threshold of now; how many they are.
  int64_t select(const CandidateList<W>& list, int64_t n) const {
    int64_t left = 0;
    for (int64_t i = 0; i < n; ++i) {
      const W score = list.scores[i];
      list.scores[left] = score;
      list.labels[left] = list.labels[i];
      list.rows[left] = list.rows[i];
      left += score > threshold_ ? 1 : 0;
    }
    return left;
  }

 private:
  using Bits = typename ScoreKey<W>::type;
  static constexpr int kShift = sizeof(W) == 4 ? 17 : 46;  // 64 bins for each power of two, from 1 downwards
  static constexpr int64_t kBins = 1024;                   // the last one has all that is lower
  static constexpr Bits kOne = __builtin_bit_cast(Bits, W(1));

  W threshold_;
  W reach_;                           // the margin must be greater (reach_of has room to spare),
  bool all_reach_;                    // unless this is set
  int64_t most_, last_, within_ = 0;  // the bins up to the last one hold so many candidates, at least `most`
  uint32_t counts_[kBins];

  // Of a score from 0 to 1.
  static REFINEDET_HD int64_t bin_of(W score) {
    Bits bits;
    memcpy(&bits, &score, sizeof(bits));
    return min2(static_cast<int64_t>((kOne - bits) >> kShift), kBins - 1);
  }
};

// Candidates of a piece, from its kept anchors index[0 .. kept-1]; returns their number.
template <class T, class W>
int64_t score_piece(const DetectArgs& args, const Piece& piece, const int32_t* index, int32_t* order, W* margins,
                    W* table, const CandidateList<W>& out) {
  const int64_t classes = args.classes, columns = 1 + classes;
  const T* logits = static_cast<const T*>(args.odm_logits) + (piece.image * args.anchors + piece.first) * columns;
  // those with a class above the background go first: what they score spares many others the softmax
  int64_t front = 0, back = piece.kept;
  for (int64_t i = 0; i < piece.kept; ++i) {
    margins[i] = margin(logits + index[i] * columns, classes);
    const int64_t ahead = margins[i] > 0 ? 1 : 0;
    order[front] = order[back - 1] = static_cast<int32_t>(i);
    front += ahead;
    back -= 1 - ahead;
  }
  Bar<W> bar(args);
  int64_t candidates = 0;
  for (int64_t next = 0; next < piece.kept;) {
    int32_t rows[kGroup], anchors[kGroup];
    int n = 0;
    for (; next < piece.kept && n < kGroup; ++next) {
      rows[n] = order[next];
      anchors[n] = index[order[next]];
      n += bar.within_reach(margins[order[next]]) ? 1 : 0;
    }
    if (n > 0) {
      W top[kGroup], sum[kGroup];
      load_group(logits, anchors, n, columns, table);
      group_exponentials(table, columns, top, sum);
      const int64_t before = candidates;
      candidates = append_candidates(table, sum, n, classes, bar.threshold(), rows, out, candidates);
      bar.raise(out.scores + before, candidates - before);
    }
  }
  return bar.select(out, candidates);
}

// Decodes the anchors that gave candidates to their rows of `boxes`, and counts each one's.
template <class T, class W>
void decode_piece(const DetectArgs& args, const Delta<W>& variance, const Piece& piece, const int32_t* rows,
                  int32_t* index, int32_t* with_candidates, int32_t* starts, W* boxes) {
  memset(starts, 0, static_cast<size_t>(piece.kept) * sizeof(int32_t));
  for (int64_t i = 0; i < piece.candidates; ++i) {
    ++starts[rows[i]];
  }
  int32_t place = 0;
  int64_t count = 0;
  for (int64_t i = 0; i < piece.kept; ++i) {
    const int32_t own = starts[i];
    starts[i] = place;
    place += own;
    with_candidates[count] = static_cast<int32_t>(i);
    index[count] = index[i];
    count += own > 0 ? 1 : 0;
  }
  const int64_t at = 4 * (piece.image * args.anchors + piece.first);
  const T* arm = static_cast<const T*>(args.arm_deltas) + at;
  const T* odm = static_cast<const T*>(args.odm_deltas) + at;
  const T* anchors = static_cast<const T*>(args.anchor_boxes) + 4 * piece.first;
  map_boxes_at<1, W>(index, count, {arm, odm, anchors}, CascadeRow<W>{variance},
                     [&](int64_t first, int64_t some, W* const* decoded) {
                       for (int64_t i = 0; i < some; ++i) {
                         memcpy(boxes + 4 * with_candidates[first + i], decoded[0] + 4 * i, 4 * sizeof(W));
                       }
                     });
}

// Appends a piece's candidates to those of its image, in the order of their anchors.
template <class W>
void move_in_order(const Piece& piece, Scratch<W>& scratch, const CandidateList<W>& out) {
  const CandidateList<W> from = scratch.list_at(piece.row);
  int32_t* const starts = scratch.starts.data() + piece.row;
  const int32_t first_row = static_cast<int32_t>(piece.row - piece.image_row);
  for (int64_t i = 0; i < piece.candidates; ++i) {
    const int32_t at = starts[from.rows[i]]++;
    out.scores[at] = from.scores[i];
    out.labels[at] = from.labels[i];
    out.rows[at] = first_row + from.rows[i];
  }
}

template <class T>
void run(const DetectArgs& args, const ParallelFor& parallel) {
  using W = Work<T>;
  const int64_t batch = args.batch, classes = args.classes, keep_top_k = args.settings.keep_top_k;
  const int64_t per_image = (args.anchors + kPiece - 1) / kPiece, tasks = batch * per_image;
  Buffer<Piece> pieces(tasks);
  Buffer<int32_t> index(batch * args.anchors);
  const W arm_threshold = ceil_to<W>(filter_threshold(args.theta));
  const auto index_of = [&](const Piece& piece) { return index.data() + piece.image * args.anchors + piece.first; };
  parallel(tasks, kPieceGrain, [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) {
      Piece& piece = pieces[t];
      piece.image = t / per_image;
      piece.first = t % per_image * kPiece;
      piece.anchors = min2(kPiece, args.anchors - piece.first);
      const T* logits = static_cast<const T*>(args.arm_logits) + 2 * (piece.image * args.anchors + piece.first);
      piece.kept = kept_anchors(logits, piece.anchors, arm_threshold, index_of(piece));
    }
  });

  int64_t kept_in_all = 0;
  for (int64_t t = 0; t < tasks; ++t) {
    pieces[t].row = kept_in_all;
    pieces[t].image_row = pieces[t].first == 0 ? kept_in_all : pieces[t - 1].image_row;
    kept_in_all += pieces[t].kept;
  }
  Scratch<W> scratch(kept_in_all, classes);
  Buffer<W> tables(tasks * (1 + classes) * kGroup);
  const Delta<W> variance = variance_of<W>(args.variances);
  const int64_t grain = 1 + tasks * kSurvivorGrain / max2<int64_t>(1, kept_in_all);
  parallel(tasks, grain, [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) {
      Piece& piece = pieces[t];
      int32_t* rows = index_of(piece);
      int32_t* const order = scratch.order.data() + piece.row;
      const CandidateList<W> list = scratch.list_at(piece.row);
      piece.candidates = score_piece<T>(args, piece, rows, order, scratch.margins.data() + piece.row,
                                        tables.data() + t * (1 + classes) * kGroup, list);
      decode_piece<T>(args, variance, piece, list.rows, rows, order, scratch.starts.data() + piece.row,
                      scratch.boxes.data() + 4 * piece.row);
    }
  });

  int64_t found = 0;
  for (int64_t t = 0; t < tasks; ++t) {
    pieces[t].place = found;
    found += pieces[t].candidates;
  }
  Buffer<W> scores(found);
  Buffer<int32_t> labels(found), rows(found);
  Buffer<Candidates<W>> images(batch);
  for (int64_t b = 0; b < batch; ++b) {
    const Piece none{}, &first = per_image == 0 ? none : pieces[b * per_image];
    const int64_t end = b + 1 < batch && per_image > 0 ? pieces[(b + 1) * per_image].place : found;
    images[b] = {scores.data() + first.place, labels.data() + first.place, rows.data() + first.place, end - first.place,
                 scratch.boxes.data() + 4 * first.row};
  }
  Buffer<W> kept_scores(batch * keep_top_k);
  Buffer<int32_t> kept_labels(batch * keep_top_k), kept_rows(batch * keep_top_k);
  const Kept<W> kept{kept_scores.data(), kept_labels.data(), kept_rows.data(), args.out_counts};
  const W width = static_cast<W>(args.width), height = static_cast<W>(args.height);
  Steps steps(
      [&](int64_t b) {
        for (int64_t t = b * per_image; t < (b + 1) * per_image; ++t) {
          const int64_t at = pieces[t].place;
          move_in_order(pieces[t], scratch, {scores.data() + at, labels.data() + at, rows.data() + at});
        }
      },
      [&](int64_t b) {
        write_detections(images[b], kept, b, keep_top_k, static_cast<W*>(args.out_boxes),
                         static_cast<W*>(args.out_scores), args.out_labels,
                         [&](const Box<W>& box) { return args.clip ? clip(box, width, height) : box; });
      });
  suppress(images.data(), batch, classes, args.settings, kept, steps.get(), parallel);
}

}  // namespace
}  // namespace refinedet::cpu::REFINEDET_CPU_LEVEL

namespace refinedet::cpu {

using namespace REFINEDET_CPU_LEVEL;

template <>
void kernel<kLevel>(const DetectArgs& args, const ParallelFor& parallel) {
  dispatch_floating(args.dtype, [&]<class T>(Tag<T>) { run<T>(args, parallel); });
}

}  // namespace refinedet::cpu
