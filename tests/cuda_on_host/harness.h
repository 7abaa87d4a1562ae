// The frame of the tests that compare CUDA kernels, run on the CPU, with the CPU kernels.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <functional>
#include <random>
#include <string>
#include <type_traits>
#include <vector>

#include "core/dtype.h"
#include "core/parallel.h"
#include "cuda/primitives/device.h"

namespace refinedet::harness {

struct Case {
  std::string name;
  std::function<void()> run;
};

inline std::vector<Case>& cases() {
  static std::vector<Case> all;
  return all;
}

inline int failures = 0;

struct Register {
  Register(const char* name, std::function<void()> run) { cases().push_back({name, std::move(run)}); }
};

// An array of exactly its size on the heap, so that AddressSanitizer sees its ends. Filled with garbage, as a GPU's
// memory is.
template <class T>
class Array {
 public:
  explicit Array(int64_t size) : data_(static_cast<T*>(malloc(bytes_of(size)))), size_(size) {
    memset(static_cast<void*>(data_), 0xFB, bytes_of(size));
  }
  Array(const std::vector<T>& from) : Array(static_cast<int64_t>(from.size())) {
    std::copy(from.begin(), from.end(), data_);
  }
  Array(const Array& other) : Array(other.size_) { std::copy(other.data_, other.data_ + size_, data_); }
  Array& operator=(const Array&) = delete;
  ~Array() { free(static_cast<void*>(data_)); }

  T* data() const { return data_; }
  int64_t size() const { return size_; }
  T& operator[](int64_t i) const { return data_[i]; }
  T* begin() const { return data_; }
  T* end() const { return data_ + size_; }

 private:
  static size_t bytes_of(int64_t size) { return static_cast<size_t>(size) * sizeof(T); }
  T* data_;
  int64_t size_;
};

inline const ParallelFor& one_thread() {
  static const ParallelFor alone(nullptr, nullptr, 1);
  return alone;
}

template <class T>
double number(const T& x) {
  if constexpr (std::is_integral_v<T> || std::is_same_v<T, bool>) {
    return static_cast<double>(x);
  } else {
    return static_cast<double>(load(x));
  }
}

// Reports the first place where two arrays differ by more than `tolerance`, relative to the larger of 1 and the
// expected value. With 0 they must be the same numbers; NaN equals NaN.
template <class T>
void expect_close(const char* what, const Array<T>& got, const Array<T>& expected, double tolerance = 0) {
  for (int64_t i = 0; i < expected.size(); ++i) {
    const double a = number(got[i]), b = number(expected[i]);
    const bool same = (a != a && b != b) || a == b || std::fabs(a - b) <= tolerance * std::fmax(1.0, std::fabs(b));
    if (!same) {
      ++failures;
      printf("FAIL %s: at %lld of %lld: got %.9g, expected %.9g\n", what, static_cast<long long>(i),
             static_cast<long long>(expected.size()), a, b);
      return;
    }
  }
}

inline void expect(bool condition, const char* what) {
  if (!condition) {
    ++failures;
    printf("FAIL %s\n", what);
  }
}

// Random numbers that are the same everywhere.
class Random {
 public:
  explicit Random(uint64_t seed) : engine_(seed) {}
  float uniform(float low = 0, float high = 1) {
    return low + (high - low) * static_cast<float>(static_cast<double>(engine_() >> 11) * 0x1p-53);
  }
  int64_t below(int64_t n) { return static_cast<int64_t>(engine_() % static_cast<uint64_t>(n)); }
  template <class T>
  Array<T> array(int64_t n, float low, float high) {
    Array<T> a(n);
    for (T& x : a) {
      x = store<T>(static_cast<Accumulate<T>>(uniform(low, high)));
    }
    return a;
  }
  // (n, 4) boxes with centers in the unit square and sides up to `side`.
  template <class T>
  Array<T> boxes(int64_t n, float side = 0.3f) {
    Array<T> a(4 * n);
    for (int64_t i = 0; i < n; ++i) {
      const float x = uniform(), y = uniform(), w = uniform(0, side / 2), h = uniform(0, side / 2);
      const float box[4] = {x - w, y - h, x + w, y + h};
      for (int k = 0; k < 4; ++k) {
        a[4 * i + k] = store<T>(static_cast<Accumulate<T>>(box[k]));
      }
    }
    return a;
  }

 private:
  std::mt19937_64 engine_;
};

template <class T>
inline constexpr DType kDType = std::is_same_v<T, float>    ? DType::f32
                                : std::is_same_v<T, double> ? DType::f64
                                : std::is_same_v<T, Half>   ? DType::f16
                                                            : DType::bf16;

// f(Tag<T>{}) for the element types that CUDA kernels take.
template <class F>
void for_dtypes(const F& f) {
  f(Tag<float>{});
  f(Tag<Half>{});
  f(Tag<BFloat16>{});
}

}  // namespace refinedet::harness

// CUDA_CASE(name) { ... }: a test, run once per schedule.
#define CUDA_CASE(name)                                                   \
  static void name();                                                     \
  static const refinedet::harness::Register register_##name(#name, name); \
  static void name()
