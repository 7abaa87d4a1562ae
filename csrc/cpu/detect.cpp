#include "detect.h"

#include "../geometry/threshold.h"
#include "anchor_filter.h"
#include "best_first.h"
#include "box_blocks.h"
#include "buffer.h"
#include "class_scores.h"

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
  int64_t candidates;  // what they gave
};

template <class W>
struct Scratch {
  Buffer<W> boxes;   // (kept, 4)
  Buffer<W> scores;  // candidates: room for all classes of each kept anchor
  Buffer<int32_t> labels, rows;
  Buffer<typename ScoreKey<W>::type> keys;
  int64_t classes;

  Scratch(int64_t kept, int64_t classes)
      : boxes(kept * 4),
        scores(kept * classes),
        labels(kept * classes),
        rows(kept * classes),
        keys(kept * classes),
        classes(classes) {}

  // Where the candidates of the kept anchors from `row` on begin.
  CandidateList<W> list_at(int64_t row) {
    return {scores.data() + row * classes, labels.data() + row * classes, rows.data() + row * classes};
  }
};

// What a score must exceed. Once there are twice as many candidates as can take part in the suppression it rises, so
// that anchors which cannot reach it any more cost no softmax.
template <class W>
class Bar {
 public:
  using Key = typename ScoreKey<W>::type;

  Bar(const DetectArgs& args, Key* keys)
      : threshold_(floor_to<W>(args.score_threshold)),
        reach_(static_cast<W>(reach_of(args.score_threshold))),
        all_reach_(args.score_threshold <= 0),  // also what lies infinitely far below the background
        // a limit per class takes candidates away from those of the image, so that worse ones move up
        most_(args.settings.top_k_per_class < args.settings.top_k ? kNoLimit : args.settings.top_k),
        next_(most_ < kNoLimit / 2 ? 2 * most_ : kNoLimit),
        keys_(keys) {}

  W threshold() const { return threshold_; }
  // Whether an anchor can have such a score.
  template <class T>
  REFINEDET_HD bool within_reach(const T* logits, int64_t classes) const {
    return all_reach_ || reaches(logits, classes, reach_);
  }

  // Drops some of the `count` candidates that are worse than the best `most`; how many are left.
  int64_t raise(const CandidateList<W>& list, int64_t count) {
    if (count < next_) {
      return count;
    }
    uint32_t counters[kBinCounters];
    make_keys(list.scores, count, keys_);
    const Bins<Key> bins = make_bins(keys_, count, most_, counters);
    int64_t left = count;
    if (bins.within < count) {
      const Key last = bins.most();
      left = 0;
      for (int64_t i = 0; i < count; ++i) {
        list.scores[left] = list.scores[i];
        list.labels[left] = list.labels[i];
        list.rows[left] = list.rows[i];
        left += keys_[i] <= last ? 1 : 0;
      }
      threshold_ = key_score<W>(last + 1);  // the next lower number
      reach_ = static_cast<W>(reach_of(static_cast<double>(threshold_)));
      all_reach_ = threshold_ <= 0;
    }
    next_ = left + most_;
    return left;
  }

 private:
  W threshold_;
  W reach_;         // a logit must be above the background's by more than this (reach_of has room to spare),
  bool all_reach_;  // unless this is set
  int64_t most_, next_;
  Key* keys_;
};

// Candidates of a piece, from its kept anchors index[0 .. kept-1]: `index` becomes those that were looked at more
// closely, which are the rows that the candidates name; returns their number.
template <class T, class W>
int64_t score_piece(const DetectArgs& args, Bar<W> bar, Piece& piece, int32_t* index, W* table,
                    const CandidateList<W>& out) {
  const int64_t classes = args.classes, columns = 1 + classes;
  const T* logits = static_cast<const T*>(args.odm_logits) + (piece.image * args.anchors + piece.first) * columns;
  const int32_t first_row = static_cast<int32_t>(piece.row - piece.image_row);
  int64_t survivors = 0, scored = 0, candidates = 0;
  for (int64_t i = 0; i < piece.kept || scored < survivors;) {
    for (; i < piece.kept && survivors - scored < kGroup; ++i) {
      const int32_t anchor = index[i];
      index[survivors] = anchor;
      survivors += bar.within_reach(logits + anchor * columns, classes) ? 1 : 0;
    }
    const int n = static_cast<int>(survivors - scored);
    W top[kGroup], sum[kGroup];
    load_group(logits, index + scored, n, columns, table);
    group_exponentials(table, columns, top, sum);
    const int32_t row = first_row + static_cast<int32_t>(scored);
    candidates = append_candidates(table, sum, n, classes, bar.threshold(), row, out, candidates);
    candidates = bar.raise(out, candidates);
    scored = survivors;
  }
  piece.candidates = candidates;
  return survivors;
}

template <class T, class W>
void decode_survivors(const DetectArgs& args, const Delta<W>& variance, const Piece& piece, const int32_t* index,
                      int64_t survivors, W* boxes) {
  const int64_t at = 4 * (piece.image * args.anchors + piece.first);
  const T* arm = static_cast<const T*>(args.arm_deltas) + at;
  const T* odm = static_cast<const T*>(args.odm_deltas) + at;
  const T* anchors = static_cast<const T*>(args.anchor_boxes) + 4 * piece.first;
  map_boxes_at<1, W>(
      index, survivors, {arm, odm, anchors},
      [&](const Quad<W>* in, Quad<W>* out) { out[0] = decode<W>(in[1], decode<W>(in[0], in[2], variance), variance); },
      [&](int64_t first, int64_t some, W* const* rows) {
        memcpy(boxes + 4 * first, rows[0], static_cast<size_t>(some) * 4 * sizeof(W));
      });
}

// The lists of an image's pieces become one.
template <class W>
void close_up(const Piece* pieces, int64_t count, Scratch<W>& scratch) {
  const CandidateList<W> to = scratch.list_at(pieces[0].image_row);
  int64_t at = 0;
  for (int64_t t = 0; t < count; ++t) {
    const CandidateList<W> from = scratch.list_at(pieces[t].row);
    const size_t n = static_cast<size_t>(pieces[t].candidates);
    if (t > 0) {
      memmove(to.scores + at, from.scores, n * sizeof(W));
      memmove(to.labels + at, from.labels, n * sizeof(int32_t));
      memmove(to.rows + at, from.rows, n * sizeof(int32_t));
    }
    at += pieces[t].candidates;
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
      const Bar<W> bar(args, scratch.keys.data() + piece.row * classes);
      const int64_t survivors = score_piece<T>(args, bar, piece, rows, tables.data() + t * (1 + classes) * kGroup,
                                               scratch.list_at(piece.row));
      decode_survivors<T>(args, variance, piece, rows, survivors, scratch.boxes.data() + 4 * piece.row);
    }
  });

  Buffer<Candidates<W>> images(batch);
  for (int64_t b = 0; b < batch; ++b) {
    int64_t candidates = 0, row = 0;  // without anchors there are no pieces
    for (int64_t t = b * per_image; t < (b + 1) * per_image; ++t) {
      candidates += pieces[t].candidates;
      row = pieces[t].image_row;
    }
    const CandidateList<W> list = scratch.list_at(row);
    images[b] = {list.scores, list.labels, list.rows, candidates, scratch.boxes.data() + 4 * row};
  }
  Buffer<W> kept_scores(batch * keep_top_k);
  Buffer<int32_t> kept_labels(batch * keep_top_k), kept_rows(batch * keep_top_k);
  const Kept<W> kept{kept_scores.data(), kept_labels.data(), kept_rows.data(), args.out_counts};
  const W width = static_cast<W>(args.width), height = static_cast<W>(args.height);
  Steps steps(
      [&](int64_t b) {
        if (per_image > 1) {
          close_up(pieces.data() + b * per_image, per_image, scratch);
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

void detect(const DetectArgs& args, const ParallelFor& parallel) {
  dispatch_floating(args.dtype, [&]<class T>(Tag<T>) { run<T>(args, parallel); });
}

}  // namespace refinedet::cpu::REFINEDET_CPU_LEVEL
