// The sum of the weights' gradient over tiles.
#include "cuda/features/weight_grad.h"
#include "harness.h"

using namespace refinedet;
using namespace refinedet::harness;

namespace {

template <class T>
void check_add(int64_t size) {
  Random random(static_cast<uint64_t>(size));
  const Array<T> terms = random.array<T>(5 * size, -1, 1);
  Array<Accumulate<T>> sum(size), expected_sum(size);
  Array<T> expected(size), got(size);
  for (int64_t i = 0; i < size; ++i) {
    Accumulate<T> x = 0;
    for (int64_t k = 0; k < 5; ++k) {
      x += load(terms[k * size + i]);
    }
    expected[i] = round_to<T>(x);
  }
  cuda::add_terms({kDType<T>, terms.data(), 2, size, true, sum.data(), nullptr}, nullptr);
  cuda::add_terms({kDType<T>, terms.data() + 2 * size, 1, size, false, sum.data(), nullptr}, nullptr);
  cuda::add_terms({kDType<T>, terms.data() + 3 * size, 2, size, false, sum.data(), got.data()}, nullptr);
  expect_close("add_terms", got, expected);
  cuda::add_terms({kDType<T>, terms.data(), 5, size, true, nullptr, got.data()}, nullptr);
  expect_close("add_terms, all at once", got, expected);
}

template <class T>
void check_weight_grad(bool several) {
  constexpr int64_t kSize = 70;
  Random random(3);
  const Array<T> first = random.array<T>(2 * kSize, -1, 1), second = random.array<T>(kSize, -1, 1);
  Array<T> expected(kSize), result(kSize);
  Array<Accumulate<T>> expected_sum(kSize);
  for (int64_t i = 0; i < kSize; ++i) {
    const Accumulate<T> one = load(second[i]);
    expected_sum[i] = several ? load(first[i]) + load(first[kSize + i]) + one : one;
    expected[i] = round_to<T>(expected_sum[i]);
  }
  for (const bool to_result : {true, false}) {
    cuda::Workspace counted;
    cuda::WeightGrad(kDType<T>, kSize, 2, several, to_result ? result.data() : nullptr, counted);
    expect((counted.bytes() == 0) == (to_result && !several), "a single product needs no memory beside its result");
    Array<char> workspace(counted.bytes() + 16);
    cuda::Workspace memory(workspace.data());
    cuda::WeightGrad sum(kDType<T>, kSize, 2, several, to_result ? result.data() : nullptr, memory);
    if (several) {
      std::copy(first.begin(), first.end(), static_cast<T*>(sum.terms()));
      sum.add(2, false, nullptr);
    }
    std::copy(second.begin(), second.end(), static_cast<T*>(sum.terms()));
    sum.add(1, true, nullptr);
    if (to_result) {
      expect_close("WeightGrad, result", result, expected);
    } else if (several) {
      const Accumulate<T>* const got = static_cast<const Accumulate<T>*>(sum.sum());
      expect(sum.sum_dtype() == kDType<Accumulate<T>>, "sums are in the accumulate type");
      expect_close("WeightGrad, sum", Array<Accumulate<T>>(std::vector<Accumulate<T>>(got, got + kSize)), expected_sum);
    } else {
      expect(sum.sum_dtype() == kDType<T> && sum.sum() == sum.terms(), "a single product is the sum");
    }
  }
}

}  // namespace

CUDA_CASE(add_terms) {
  for_dtypes([]<class T>(Tag<T>) { check_add<T>(300); });
  check_add<double>(3);
}

CUDA_CASE(weight_grad) {
  for_dtypes([]<class T>(Tag<T>) {
    check_weight_grad<T>(true);
    check_weight_grad<T>(false);
  });
  check_weight_grad<double>(true);
}

CUDA_CASE(weight_grad_empty) { cuda::add_terms({DType::f32, nullptr, 1, 0, true, nullptr, nullptr}, nullptr); }
