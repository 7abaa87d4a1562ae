// The weights' gradient of an op that works tile by tile: the sum of products, kept in the accumulate type, so that
// half types are rounded once.
#pragma once

#include "core/dtype.h"
#include "core/stream.h"
#include "cuda/primitives/workspace.h"

namespace refinedet::cuda {

// sum = (first ? 0 : sum) + the terms, which lie one after the other.
struct AddTermsArgs {
  DType dtype;
  const void* terms;
  int64_t term_count, size;
  bool first;
  void* sum;     // of the accumulate type
  void* result;  // null, or where the sum goes at last, rounded; `sum` is then only read, and not if `first`
};
void add_terms(const AddTermsArgs& args, Stream stream);

class WeightGrad {
 public:
  WeightGrad() = default;  // where none is wanted

  // A tile brings `most_terms` products of `size` numbers or fewer; `several`: more than one come in all. `result`, if
  // not null, is where their sum goes, which otherwise stays in sum().
  WeightGrad(DType dtype, int64_t size, int64_t most_terms, bool several, void* result, Workspace& memory)
      : dtype_(dtype), size_(size), several_(several), result_(result) {
    const bool direct = result != nullptr && !several;
    terms_ = direct ? result : memory.take<char>(most_terms * size * element_size(dtype));
    sum_ = several ? memory.take<char>(size * element_size(accumulate_type(dtype))) : nullptr;
  }

  // Where the products of the next tile are to be written.
  void* terms() const { return terms_; }
  void add(int64_t term_count, bool last, Stream stream) {
    if (several_) {
      add_terms({.dtype = dtype_,
                 .terms = terms_,
                 .term_count = term_count,
                 .size = size_,
                 .first = first_,
                 .sum = sum_,
                 .result = last ? result_ : nullptr},
                stream);
      first_ = false;
    }
  }

  const void* sum() const { return several_ ? sum_ : terms_; }
  DType sum_dtype() const { return several_ ? accumulate_type(dtype_) : dtype_; }

 private:
  DType dtype_ = DType::f32;
  int64_t size_ = 0;
  bool several_ = false, first_ = true;
  void *result_ = nullptr, *terms_ = nullptr, *sum_ = nullptr;
};

}  // namespace refinedet::cuda
