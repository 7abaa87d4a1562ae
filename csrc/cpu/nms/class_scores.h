// Softmax of a few rows of class logits picked by index, and which of its values are candidates.
#pragma once

#include "core/softmax.h"
#include "cpu/simd/lanes.h"

namespace refinedet::cpu::REFINEDET_CPU_LEVEL {

inline constexpr int kGroup = 16;  // rows that are worked on side by side

// By how much the largest of logits[1 .. classes] is above logits[0]; -infinity without classes.
template <class T>
REFINEDET_HD Accumulate<T> margin(const T* logits, int64_t classes) {
  using W = Accumulate<T>;
  const W background = load(logits[0]);
  W most = static_cast<W>(-__builtin_huge_val());
  if (classes >= kLanes<W>) {  // whole registers, of which the last two may overlap
    const T* const last = logits + 1 + classes - kLanes<W>;
    Lanes<W> lanes = load_wide(last);
    for (const T* p = logits + 1; p < last; p += kLanes<W>) {
      lanes = max2(load_wide(p), lanes);
    }
    most = largest<W>(lanes);
  } else {
    for (int64_t c = 1; c <= classes; ++c) {
      most = max2(static_cast<W>(load(logits[c])), most);
    }
  }
  return most - background;
}

// Four columns of kLanes<float> rows to table[column * kGroup + row], in registers.
REFINEDET_HD void turn_four(const float* const* rows, int64_t column, float* table) {
  const Lanes<float> r0 = load_fours(rows, column), r1 = load_fours(rows + 1, column);
  const Lanes<float> r2 = load_fours(rows + 2, column), r3 = load_fours(rows + 3, column);
  const Lanes<float> low02 = interleave<0>(r0, r2), high02 = interleave<1>(r0, r2);
  const Lanes<float> low13 = interleave<0>(r1, r3), high13 = interleave<1>(r1, r3);
  float* const out = table + column * kGroup;
  store_lanes(out, interleave<0>(low02, low13));
  store_lanes(out + kGroup, interleave<1>(low02, low13));
  store_lanes(out + 2 * kGroup, interleave<0>(high02, high13));
  store_lanes(out + 3 * kGroup, interleave<1>(high02, high13));
}

// Whether kGroup rows are those from index[0] on.
REFINEDET_HD bool follow_each_other(const int32_t* index) {
  int32_t differ = 0;
  for (int r = 0; r < kGroup; ++r) {
    differ |= index[r] - index[0] - r;
  }
  return differ == 0;
}

// The `columns` logits of rows index[0 .. n-1], n <= kGroup, to table[column * kGroup + row]. The rows of the table
// from n on mean nothing.
template <class T, class W>
REFINEDET_HD void load_group(const T* logits, const int32_t* index, int n, int64_t columns, W* table) {
  if (columns == 2 && n == kGroup && follow_each_other(index)) {
    const T* const pairs = logits + 2 * int64_t{index[0]};
    for (int r = 0; r < kGroup; ++r) {
      table[r] = load(pairs[2 * r]);
      table[kGroup + r] = load(pairs[2 * r + 1]);
    }
    return;
  }
  int64_t first[kGroup];
  for (int r = 0; r < kGroup; ++r) {
    first[r] = columns * index[r < n ? r : 0];
  }
  if constexpr (std::is_same_v<T, float>) {
    if (columns >= 4) {
      const float* rows[kGroup];
      for (int r = 0; r < kGroup; ++r) {
        rows[r] = logits + first[r];
      }
      for (int r = 0; r < kGroup; r += kLanes<float>) {
        for (int64_t c = 0; c + 4 < columns; c += 4) {
          turn_four(rows + r, c, table + r);
        }
        turn_four(rows + r, columns - 4, table + r);  // the last four, some of them again
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
  constexpr int L = kLanes<W>, kParts = kGroup / L;
  Lanes<W> tops[kParts], sums[kParts];
  for (int k = 0; k < kParts; ++k) {
    tops[k] = load_lanes(table + k * L);
    sums[k] = Lanes<W>{};
  }
  for (int64_t c = 1; c < columns; ++c) {
    for (int k = 0; k < kParts; ++k) {
      tops[k] = max2(load_lanes(table + c * kGroup + k * L), tops[k]);
    }
  }
  for (int k = 0; k < kParts; ++k) {
    store_lanes(top + k * L, tops[k]);
  }
  for (int64_t c = 0; c < columns; ++c) {
    W* const values = table + c * kGroup;
    for (int r = 0; r < kGroup; ++r) {
      values[r] = exp_negative(values[r] - top[r]);
    }
    for (int k = 0; k < kParts; ++k) {
      sums[k] += load_lanes(values + k * L);
    }
  }
  for (int k = 0; k < kParts; ++k) {
    store_lanes(sum + k * L, sums[k]);
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
// by class; rows[r] is what a candidate of row r gets for its row. Returns the place after the last one. Overwrites the
// table.
template <class W>
REFINEDET_HD int64_t append_candidates(W* table, const W* sum, int n, int64_t classes, W threshold, const int32_t* rows,
                                       const CandidateList<W>& out, int64_t at) {
  alignas(kLaneBytes) W bound[kGroup];  // what a numerator exceeds if its quotient is above the threshold
  for (int r = 0; r < kGroup; ++r) {
    bound[r] = (threshold < W(1e-30) ? min2(threshold, W(0)) : threshold * W(1 - 1e-5)) * sum[r];
  }
  const uint32_t all = (uint32_t{1} << n) - 1;
  for (int64_t c = 1; c <= classes; ++c) {
    W* const values = table + c * kGroup;
    uint32_t near = 0, bits = 0;
    for (int r = 0; r < kGroup; r += kLanes<W>) {
      near |= static_cast<uint32_t>(greater_bits(load_lanes(values + r), load_lanes(bound + r))) << r;
    }
    if ((near & all) == 0) {
      continue;  // most classes of most rows: no division
    }
    for (int r = 0; r < kGroup; r += kLanes<W>) {
      const Lanes<W> scores = load_lanes(values + r) / load_lanes(sum + r);
      store_lanes(values + r, scores);
      bits |= static_cast<uint32_t>(greater_bits(scores, all_lanes(threshold))) << r;
    }
    for (bits &= all; bits != 0; bits &= bits - 1) {
      const int r = __builtin_ctz(bits);
      out.scores[at] = values[r];
      out.labels[at] = static_cast<int32_t>(c - 1);
      out.rows[at] = rows[r];
      ++at;
    }
  }
  return at;
}

}  // namespace refinedet::cpu::REFINEDET_CPU_LEVEL
