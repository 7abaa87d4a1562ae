#include "detect.h"

#include "../geometry/threshold.h"
#include "anchor_filter.h"
#include "box_blocks.h"
#include "buffer.h"
#include "class_scores.h"

namespace refinedet::cpu::REFINEDET_CPU_LEVEL {
namespace {

constexpr int64_t kPiece = 4096;  // anchors of a task

// What is worth another thread, about 20 microseconds: so many pieces to look through, so many survivors to work on.
constexpr int64_t kPieceGrain = 4, kSurvivorGrain = 512;

// A task's share of an image's anchors.
struct Piece {
  int64_t image, first, anchors;
  int64_t survivors;   // those that can give a candidate
  int64_t row;         // where they stand among all survivors, and
  int64_t image_row;   // where those of their image begin
  int64_t candidates;  // what they gave
};

template <class W>
struct Scratch {
  Buffer<W> boxes;   // (survivors, 4)
  Buffer<W> scores;  // candidates: room for all classes of each survivor
  Buffer<int32_t> labels, rows;
  int64_t classes;

  Scratch(int64_t survivors, int64_t classes)
      : boxes(survivors * 4),
        scores(survivors * classes),
        labels(survivors * classes),
        rows(survivors * classes),
        classes(classes) {}

  // Where the candidates of the survivors from `row` on begin.
  CandidateList<W> list_at(int64_t row) {
    return {scores.data() + row * classes, labels.data() + row * classes, rows.data() + row * classes};
  }
};

// The anchors that pass the first stage and whose second-stage logits can give a score above the threshold.
template <class T>
void find_survivors(const DetectArgs& args, Work<T> threshold, Work<T> reach, Piece& piece, int32_t* index) {
  const int64_t at = piece.image * args.anchors + piece.first, columns = 1 + args.classes;
  const T* odm = static_cast<const T*>(args.odm_logits) + at * columns;
  const int64_t kept = kept_anchors(static_cast<const T*>(args.arm_logits) + 2 * at, piece.anchors, threshold, index);
  int64_t survivors = 0;
  for (int64_t i = 0; i < kept; ++i) {
    const int32_t anchor = index[i];
    index[survivors] = anchor;
    survivors += reaches(odm + anchor * columns, args.classes, reach) ? 1 : 0;
  }
  piece.survivors = survivors;
}

template <class T, class W>
void decode_survivors(const DetectArgs& args, const Delta<W>& variance, const Piece& piece, const int32_t* index,
                      W* boxes) {
  const int64_t at = 4 * (piece.image * args.anchors + piece.first);
  const T* arm = static_cast<const T*>(args.arm_deltas) + at;
  const T* odm = static_cast<const T*>(args.odm_deltas) + at;
  const T* anchors = static_cast<const T*>(args.anchor_boxes) + 4 * piece.first;
  map_boxes_at<1, W>(
      index, piece.survivors, {arm, odm, anchors},
      [&](const Quad<W>* in, Quad<W>* out) { out[0] = decode<W>(in[1], decode<W>(in[0], in[2], variance), variance); },
      [&](int64_t first, int64_t some, W* const* rows) {
        memcpy(boxes + 4 * first, rows[0], static_cast<size_t>(some) * 4 * sizeof(W));
      });
}

template <class T, class W>
void score_survivors(const DetectArgs& args, W threshold, Piece& piece, const int32_t* index, W* table,
                     const CandidateList<W>& out) {
  const int64_t columns = 1 + args.classes;
  const T* logits = static_cast<const T*>(args.odm_logits) + (piece.image * args.anchors + piece.first) * columns;
  int64_t candidates = 0;
  for (int64_t i = 0; i < piece.survivors; i += kGroup) {
    const int n = static_cast<int>(min2<int64_t>(kGroup, piece.survivors - i));
    group_softmax(logits, index + i, n, columns, table);
    const int32_t row = static_cast<int32_t>(piece.row - piece.image_row + i);
    candidates = append_candidates(table, n, args.classes, threshold, row, out, candidates);
  }
  piece.candidates = candidates;
}

// The lists of an image's pieces become one.
template <class W>
void close_up(const Buffer<Piece>& pieces, Scratch<W>& scratch, Buffer<Candidates<W>>& images) {
  for (Candidates<W>& image : images) {
    image = {nullptr, nullptr, nullptr, 0, nullptr};
  }
  for (int64_t t = 0; t < pieces.size(); ++t) {
    const Piece& piece = pieces[t];
    const CandidateList<W> from = scratch.list_at(piece.row), to = scratch.list_at(piece.image_row);
    Candidates<W>& image = images[piece.image];
    const size_t n = static_cast<size_t>(piece.candidates);
    memmove(to.scores + image.count, from.scores, n * sizeof(W));
    memmove(to.labels + image.count, from.labels, n * sizeof(int32_t));
    memmove(to.rows + image.count, from.rows, n * sizeof(int32_t));
    image = {to.scores, to.labels, to.rows, image.count + piece.candidates, scratch.boxes.data() + 4 * piece.image_row};
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
  const W reach = static_cast<W>(reach_of(args.score_threshold)), score_threshold = floor_to<W>(args.score_threshold);
  const auto index_of = [&](const Piece& piece) { return index.data() + piece.image * args.anchors + piece.first; };
  parallel(tasks, kPieceGrain, [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) {
      Piece& piece = pieces[t];
      piece.image = t / per_image;
      piece.first = t % per_image * kPiece;
      piece.anchors = min2(kPiece, args.anchors - piece.first);
      find_survivors<T>(args, arm_threshold, reach, piece, index_of(piece));
    }
  });

  int64_t survivors = 0;
  for (int64_t t = 0; t < tasks; ++t) {
    pieces[t].row = survivors;
    pieces[t].image_row = pieces[t].first == 0 ? survivors : pieces[t - 1].image_row;
    survivors += pieces[t].survivors;
  }
  Scratch<W> scratch(survivors, classes);
  Buffer<W> tables(tasks * (1 + classes) * kGroup);
  const Delta<W> variance = variance_of<W>(args.variances);
  const int64_t grain = 1 + tasks * kSurvivorGrain / max2<int64_t>(1, survivors);
  parallel(tasks, grain, [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) {
      Piece& piece = pieces[t];
      const int32_t* from = index_of(piece);
      decode_survivors<T>(args, variance, piece, from, scratch.boxes.data() + 4 * piece.row);
      score_survivors<T>(args, score_threshold, piece, from, tables.data() + t * (1 + classes) * kGroup,
                         scratch.list_at(piece.row));
    }
  });

  Buffer<Candidates<W>> images(batch);
  close_up(pieces, scratch, images);
  Buffer<W> kept_scores(batch * keep_top_k);
  Buffer<int32_t> kept_labels(batch * keep_top_k), kept_rows(batch * keep_top_k);
  const Kept<W> kept{kept_scores.data(), kept_labels.data(), kept_rows.data(), args.out_counts};
  suppress(images.data(), batch, classes, args.settings, kept, parallel);
  const W width = static_cast<W>(args.width), height = static_cast<W>(args.height);
  for (int64_t b = 0; b < batch; ++b) {
    write_detections(images[b], kept, b, keep_top_k, static_cast<W*>(args.out_boxes), static_cast<W*>(args.out_scores),
                     args.out_labels, [&](const Box<W>& box) { return args.clip ? clip(box, width, height) : box; });
  }
}

}  // namespace

void detect(const DetectArgs& args, const ParallelFor& parallel) {
  dispatch_floating(args.dtype, [&]<class T>(Tag<T>) { run<T>(args, parallel); });
}

}  // namespace refinedet::cpu::REFINEDET_CPU_LEVEL
