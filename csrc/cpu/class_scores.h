// Softmax of a few rows of class logits picked by index, and which of its values are candidates.
#pragma once

#include "../geometry/softmax.h"
#include "lanes.h"

namespace refinedet::cpu::REFINEDET_CPU_LEVEL {

inline constexpr int kGroup = 16;  // rows that are worked on side by side

// Whether one of logits[1 .. classes] is above logits[0] by more than `reach`.
template <class T>
REFINEDET_HD bool reaches(const T* logits, int64_t classes, Work<T> reach) {
  using W = Work<T>;
  const W background = load(logits[0]);
  if constexpr (std::is_same_v<T, W>) {
    if (classes >= kLanes<W>) {  // whole registers, of which the last two may overlap
      const T* const last = logits + 1 + classes - kLanes<W>;
      LaneBits any = greater_bits(load_lanes(last) - all_lanes(background), all_lanes(reach));
      for (const T* p = logits + 1; p < last; p += kLanes<W>) {
        any |= greater_bits(load_lanes(p) - all_lanes(background), all_lanes(reach));
      }
      return any != 0;
    }
  }
  int32_t any = 0;
  for (int64_t c = 1; c <= classes; ++c) {
    any |= load(logits[c]) - background > reach ? 1 : 0;
  }
  return any != 0;
}

typedef float Four __attribute__((vector_size(16)));

// a0 b0 a1 b1 (half 0) or a2 b2 a3 b3 (half 1).
template <int half>
REFINEDET_HD Four interleave_four(const Four& a, const Four& b) {
  constexpr int i = 2 * half;
#if defined(__GNUC__) && !defined(__clang__)
  typedef int32_t Order __attribute__((vector_size(16)));
  return __builtin_shuffle(a, b, Order{i, i + 4, i + 1, i + 5});
#else
  return __builtin_shufflevector(a, b, i, i + 4, i + 1, i + 5);
#endif
}

// Four columns of four rows to table[column * kGroup + row]: in registers, several times as fast as number by number.
REFINEDET_HD void turn_four(const float* const (&rows)[4], int64_t column, float* table) {
  Four r[4];
  for (int k = 0; k < 4; ++k) {
    memcpy(&r[k], rows[k] + column, sizeof(Four));
  }
  const Four low02 = interleave_four<0>(r[0], r[2]), high02 = interleave_four<1>(r[0], r[2]);
  const Four low13 = interleave_four<0>(r[1], r[3]), high13 = interleave_four<1>(r[1], r[3]);
  const Four columns[4] = {interleave_four<0>(low02, low13), interleave_four<1>(low02, low13),
                           interleave_four<0>(high02, high13), interleave_four<1>(high02, high13)};
  for (int k = 0; k < 4; ++k) {
    memcpy(table + (column + k) * kGroup, &columns[k], sizeof(Four));
  }
}

// The `columns` logits of rows index[0 .. n-1], n <= kGroup, to table[column * kGroup + row]. What stands behind row n
// is of no meaning.
template <class T, class W>
REFINEDET_HD void load_group(const T* logits, const int32_t* index, int n, int64_t columns, W* table) {
  int64_t first[kGroup];
  for (int r = 0; r < kGroup; ++r) {
    first[r] = columns * index[r < n ? r : 0];
  }
  if constexpr (std::is_same_v<T, float>) {
    if (columns >= 4) {
      for (int r = 0; r < kGroup; r += 4) {
        const float* const rows[4] = {logits + first[r], logits + first[r + 1], logits + first[r + 2],
                                      logits + first[r + 3]};
        for (int64_t c = 0; c + 4 < columns; c += 4) {
          turn_four(rows, c, table + r);
        }
        turn_four(rows, columns - 4, table + r);  // the last four, some of them again
      }
      return;
    }
  }
  for (int64_t c = 0; c < columns; ++c) {  // column by column: what is read next was stored as whole vectors
    for (int r = 0; r < kGroup; ++r) {
      table[c * kGroup + r] = load(logits[first[r] + c]);
    }
  }
}

// Replaces the logits of such a table by e^(logit - top), where `top` is the largest of the row, and sums them up.
template <class W>
REFINEDET_HD void group_exponentials(W* table, int64_t columns, W* top, W* sum) {
  for (int r = 0; r < kGroup; ++r) {
    top[r] = table[r];
    sum[r] = 0;
  }
  for (int64_t c = 1; c < columns; ++c) {
    for (int r = 0; r < kGroup; ++r) {
      top[r] = max2(table[c * kGroup + r], top[r]);
    }
  }
  for (int64_t c = 0; c < columns; ++c) {
    for (int r = 0; r < kGroup; ++r) {
      const W e = exp_negative(table[c * kGroup + r] - top[r]);
      table[c * kGroup + r] = e;
      sum[r] += e;
    }
  }
}

// load_group's table with the softmax of each row.
template <class T, class W>
REFINEDET_HD void group_softmax(const T* logits, const int32_t* index, int n, int64_t columns, W* table) {
  W top[kGroup], sum[kGroup];
  load_group(logits, index, n, columns, table);
  group_exponentials(table, columns, top, sum);
  for (int64_t c = 0; c < columns; ++c) {
    for (int r = 0; r < kGroup; ++r) {
      table[c * kGroup + r] /= sum[r];
    }
  }
}

// Candidates to be written: three columns of one list.
template <class W>
struct CandidateList {
  W* scores;
  int32_t* labels;
  int32_t* rows;
};

// Appends to `out` from place `at` on the softmax values of the table's first n rows that are above `threshold`, class
// by class; row r is called first_row + r. Returns the place after the last one. The table is spent.
template <class W>
REFINEDET_HD int64_t append_candidates(W* table, const W* sum, int n, int64_t classes, W threshold, int32_t first_row,
                                       const CandidateList<W>& out, int64_t at) {
  alignas(kLaneBytes) W bound[kGroup];  // what a numerator exceeds if its quotient is above the threshold
  for (int r = 0; r < kGroup; ++r) {
    bound[r] = (threshold < W(1e-30) ? min2(threshold, W(0)) : threshold * W(1 - 1e-5)) * sum[r];
  }
  const uint32_t rows = (uint32_t{1} << n) - 1;
  for (int64_t c = 1; c <= classes; ++c) {
    W* const values = table + c * kGroup;
    uint32_t near = 0, bits = 0;
    for (int r = 0; r < kGroup; r += kLanes<W>) {
      near |= static_cast<uint32_t>(greater_bits(load_lanes(values + r), load_lanes(bound + r))) << r;
    }
    if ((near & rows) == 0) {
      continue;  // most classes of most rows: no division
    }
    for (int r = 0; r < kGroup; r += kLanes<W>) {
      const Lanes<W> scores = load_lanes(values + r) / load_lanes(sum + r);
      store_lanes(values + r, scores);
      bits |= static_cast<uint32_t>(greater_bits(scores, all_lanes(threshold))) << r;
    }
    for (bits &= rows; bits != 0; bits &= bits - 1) {
      const int r = __builtin_ctz(bits);
      out.scores[at] = values[r];
      out.labels[at] = static_cast<int32_t>(c - 1);
      out.rows[at] = first_row + r;
      ++at;
    }
  }
  return at;
}

}  // namespace refinedet::cpu::REFINEDET_CPU_LEVEL
