#include "ops/detect.h"

#include "class_scores.h"
#include "core/score_key.h"
#include "core/threshold.h"
#include "counting_sort.h"
#include "cpu/boxes/box_blocks.h"
#include "cpu/matching/anchor_filter.h"
#include "cpu/runtime/buffer.h"
#include "cpu/runtime/level.h"
#include "suppression.h"

namespace refinedet::cpu::REFINEDET_CPU_LEVEL {
namespace {

constexpr int64_t kPiece = 8192;  // anchors of a task

// What is worth another thread, about 20 microseconds: so many pieces to look through, so many kept anchors to work on,
// so many candidates to bring in order.
constexpr int64_t kPieceGrain = 4, kSurvivorGrain = 512, kCandidateGrain = 8192;

// A task's share of an image's anchors.
struct Piece {
  int64_t image, first, anchors;
  int64_t kept;        // those that pass the first stage
  int64_t row;         // where they stand among all that do, and
  int64_t image_row;   // where those of their image begin
  int64_t candidates;  // what they gave,
  int64_t place;       // and where that stands among the candidates of all
};

// What a piece writes: rows count its kept anchors, ascending.
template <class W>
struct PieceMemory {
  const int32_t* anchors;   // (kept,) which anchors of the piece they are
  W* margins;               // (kept,)
  int32_t* order;           // (kept,) rows in the order in which they are scored
  W* table;                 // (1 + classes, kGroup) for the softmax of a group
  CandidateList<W> found;   // (kept * classes,) candidates as they are found; their rows are the piece's
  int32_t* starts;          // (kept + 1,) starts[r] up to starts[r + 1]: the places of row r's among them, by rows
  int32_t* with_candidate;  // (kept,) the rows that gave a candidate, ascending,
  W* boxes;                 // (kept, 4) and their boxes, each in its row
};

template <class W>
class Scratch {
 public:
  Scratch(const int32_t* kept_anchors, const DetectArgs& args, int64_t pieces, int64_t kept)
      : kept_anchors_(kept_anchors),
        anchors_(args.anchors),
        classes_(args.classes),
        margins_(kept),
        order_(kept),
        tables_(pieces * (1 + classes_) * kGroup),
        scores_(kept * classes_),
        labels_(kept * classes_),
        rows_(kept * classes_),
        starts_(kept + pieces),
        with_candidate_(kept),
        boxes_(kept * 4) {}

  // Of the piece with the number `index`.
  PieceMemory<W> of(const Piece& piece, int64_t index) {
    const int64_t row = piece.row, candidate = row * classes_;
    return {kept_anchors_ + piece.image * anchors_ + piece.first,
            margins_.data() + row,
            order_.data() + row,
            tables_.data() + index * (1 + classes_) * kGroup,
            {scores_.data() + candidate, labels_.data() + candidate, rows_.data() + candidate},
            starts_.data() + row + index,
            with_candidate_.data() + row,
            boxes_.data() + 4 * row};
  }

  const W* boxes() const { return boxes_.data(); }

 private:
  const int32_t* kept_anchors_;
  int64_t anchors_, classes_;
  Buffer<W> margins_;
  Buffer<int32_t> order_;
  Buffer<W> tables_;
  Buffer<W> scores_;
  Buffer<int32_t> labels_, rows_, starts_, with_candidate_;
  Buffer<W> boxes_;
};

// What a score must exceed. It rises as soon as more and better candidates are known than can take part in the
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

// Finds a piece's candidates; returns their number.
template <class T, class W>
int64_t score_piece(const DetectArgs& args, const Piece& piece, const PieceMemory<W>& memory) {
  const int64_t classes = args.classes, columns = 1 + classes;
  const T* logits = static_cast<const T*>(args.odm_logits) + (piece.image * args.anchors + piece.first) * columns;
  int32_t* const order = memory.order;
  // those with a class above the background go first: what they score spares many others the softmax
  int64_t front = 0, back = piece.kept;
  for (int64_t row = 0; row < piece.kept; ++row) {
    memory.margins[row] = margin(logits + memory.anchors[row] * columns, classes);
    const int64_t ahead = memory.margins[row] > 0 ? 1 : 0;
    order[front] = order[back - 1] = static_cast<int32_t>(row);
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
      anchors[n] = memory.anchors[order[next]];
      n += bar.within_reach(memory.margins[order[next]]) ? 1 : 0;
    }
    if (n > 0) {
      W top[kGroup], sum[kGroup];
      load_group(logits, anchors, n, columns, memory.table);
      group_exponentials(memory.table, columns, top, sum);
      const int64_t before = candidates;
      candidates = append_candidates(memory.table, sum, n, classes, bar.threshold(), rows, memory.found, candidates);
      bar.raise(memory.found.scores + before, candidates - before);
    }
  }
  return bar.select(memory.found, candidates);
}

// Decodes the anchors that gave candidates.
template <class T, class W>
void decode_piece(const DetectArgs& args, const Piece& piece, const PieceMemory<W>& memory) {
  count_groups(piece.candidates, piece.kept, memory.starts, [&](int64_t i) { return memory.found.rows[i]; });
  int64_t count = 0;
  for (int64_t row = 0; row < piece.kept; ++row) {
    memory.with_candidate[count] = static_cast<int32_t>(row);
    count += memory.starts[row + 1] > memory.starts[row] ? 1 : 0;
  }
  struct Anchors {
    const int32_t *rows, *anchors;
    int32_t operator[](int64_t i) const { return anchors[rows[i]]; }
  };
  const int64_t at = 4 * (piece.image * args.anchors + piece.first);
  const T* arm = static_cast<const T*>(args.arm_deltas) + at;
  const T* odm = static_cast<const T*>(args.odm_deltas) + at;
  const T* anchors = static_cast<const T*>(args.anchor_boxes) + 4 * piece.first;
  map_boxes_at<1, W>(Anchors{memory.with_candidate, memory.anchors}, count, {arm, odm, anchors},
                     CascadeRow<W>{variance_of<W>(args.variances)},
                     [&](int64_t first, int64_t some, W* const* decoded) {
                       for (int64_t i = 0; i < some; ++i) {
                         memcpy(memory.boxes + 4 * memory.with_candidate[first + i], decoded[0] + 4 * i, 4 * sizeof(W));
                       }
                     });
}

// Brings a piece's candidates to `out` in the order of their anchors; their rows there count those of the image.
template <class W>
void move_in_order(const Piece& piece, const PieceMemory<W>& memory, const CandidateList<W>& out) {
  const CandidateList<W>& from = memory.found;
  const int32_t first_row = static_cast<int32_t>(piece.row - piece.image_row);
  for_each_place(
      piece.candidates, piece.kept, memory.starts, [&](int64_t i) { return from.rows[i]; },
      [&](int64_t place, int64_t i) {
        out.scores[place] = from.scores[i];
        out.labels[place] = from.labels[i];
        out.rows[place] = first_row + from.rows[i];
      });
}

template <class T>
void run(const DetectArgs& args, const ParallelFor& parallel) {
  using W = Accumulate<T>;
  const int64_t batch = args.batch, keep_top_k = args.settings.keep_top_k;
  const int64_t per_image = (args.anchors + kPiece - 1) / kPiece, tasks = batch * per_image;

  // the anchors that the first stage keeps
  Buffer<Piece> pieces(tasks);
  Buffer<int32_t> kept_index(batch * args.anchors);
  const W arm_threshold = ceil_to<W>(filter_threshold(args.theta));
  parallel(tasks, kPieceGrain, [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) {
      Piece& piece = pieces[t];
      piece.image = t / per_image;
      piece.first = t % per_image * kPiece;
      piece.anchors = min2(kPiece, args.anchors - piece.first);
      const int64_t at = piece.image * args.anchors + piece.first;
      piece.kept = kept_anchors(static_cast<const T*>(args.arm_logits) + 2 * at, piece.anchors, arm_threshold,
                                kept_index.data() + at);
    }
  });
  int64_t kept_in_all = 0;
  for (int64_t t = 0; t < tasks; ++t) {
    pieces[t].row = kept_in_all;
    pieces[t].image_row = pieces[t].first == 0 ? kept_in_all : pieces[t - 1].image_row;
    kept_in_all += pieces[t].kept;
  }

  // their scores and boxes
  Scratch<W> scratch(kept_index.data(), args, tasks, kept_in_all);
  const int64_t grain = 1 + tasks * kSurvivorGrain / max2<int64_t>(1, kept_in_all);
  parallel(tasks, grain, [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) {
      const PieceMemory<W> memory = scratch.of(pieces[t], t);
      pieces[t].candidates = score_piece<T>(args, pieces[t], memory);
      decode_piece<T>(args, pieces[t], memory);
    }
  });
  int64_t found = 0;
  for (int64_t t = 0; t < tasks; ++t) {
    pieces[t].place = found;
    found += pieces[t].candidates;
  }

  // the candidates of each image in the order of their anchors
  Buffer<W> scores(found);
  Buffer<int32_t> labels(found), rows(found);
  parallel(tasks, 1 + tasks * kCandidateGrain / (found + 1), [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) {
      const int64_t at = pieces[t].place;
      move_in_order(pieces[t], scratch.of(pieces[t], t), {scores.data() + at, labels.data() + at, rows.data() + at});
    }
  });
  Buffer<Candidates<W>> images(batch);
  for (int64_t b = 0; b < batch; ++b) {
    const Piece none{}, &first = per_image == 0 ? none : pieces[b * per_image];
    const int64_t end = b + 1 < batch && per_image > 0 ? pieces[(b + 1) * per_image].place : found;
    images[b] = {scores.data() + first.place, labels.data() + first.place, rows.data() + first.place, end - first.place,
                 scratch.boxes() + 4 * first.row};
  }

  // what suppression leaves of them
  KeptMemory<W> memory(batch, keep_top_k);
  const Kept<W> kept = memory.with(args.out_counts);
  suppress(images.data(), batch, args.classes, args.settings, kept, parallel);
  const W width = static_cast<W>(args.width), height = static_cast<W>(args.height);
  write_detections(images.data(), batch, kept, keep_top_k, static_cast<W*>(args.out_boxes),
                   static_cast<W*>(args.out_scores), args.out_labels, parallel,
                   [&](const Box<W>& box) { return args.clip ? clip(box, width, height) : box; });
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
