// What csrc/torch/cublas.h calls, on the CPU: the checks of cuBLAS, sums in float64 that are rounded once, and TF32 as
// tensor cores take it.
#include <algorithm>
#include <vector>

#include "core/dtype.h"
#include "torch/cublas.h"

namespace refinedet::torch_ops::cublas {
namespace {

constexpr int kSuccess = 0, kInvalidValue = 7;

thread_local int math_mode = kDefaultMath;  // stands for the handle: torch has one per thread as well

int get_math_mode(void* handle, int* mode) {
  *mode = *static_cast<int*>(handle);
  return kSuccess;
}

int set_math_mode(void* handle, int mode) {
  *static_cast<int*>(handle) = mode;
  return kSuccess;
}

// Ten bits of a fraction are left; to the nearest, ties away from zero.
float to_tf32(float x) {
  const uint32_t bits = static_cast<uint32_t>(float_to_bits(x));
  return x - x == 0 ? bits_to_float(static_cast<int32_t>((bits + 0x1000u) & ~0x1fffu)) : x;
}

// `depth` numbers of each of `lines` rows, one row after the other.
template <class T>
std::vector<Accumulate<T>> packed(const T* data, int lines, int depth, int64_t line_step, int64_t depth_step,
                                  bool tf32) {
  std::vector<Accumulate<T>> all(static_cast<size_t>(lines) * static_cast<size_t>(depth));
  auto to = all.begin();
  for (int i = 0; i < lines; ++i) {
    for (int k = 0; k < depth; ++k) {
      const Accumulate<T> x = load(data[i * line_step + k * depth_step]);
      *to++ = tf32 ? static_cast<Accumulate<T>>(to_tf32(static_cast<float>(x))) : x;
    }
  }
  return all;
}

int gemm_strided_batched(void* handle, int a_operation, int b_operation, int m, int n, int k, const void* alpha,
                         const void* a, int a_type, int a_line, long long a_stride, const void* b, int b_type,
                         int b_line, long long b_stride, const void* beta, void* c, int c_type, int c_line,
                         long long c_stride, int count, int compute_type, int algorithm) {
  const bool a_turned = a_operation == kTransposed, b_turned = b_operation == kTransposed;
  const bool fits = m >= 0 && n >= 0 && k >= 0 && a_line >= std::max(1, a_turned ? k : m) &&
                    b_line >= std::max(1, b_turned ? n : k) && c_line >= std::max(1, m);
  const bool wide = a_type == kFloat64;
  const auto scalar = [&](const void* p) {
    return wide ? *static_cast<const double*>(p) : static_cast<double>(*static_cast<const float*>(p));
  };
  const bool known = (wide || a_type == kFloat32 || a_type == kFloat16 || a_type == kBFloat16) && a_type == b_type &&
                     a_type == c_type && compute_type == (wide ? kComputeFloat64 : kComputeFloat32) &&
                     algorithm == kDefaultAlgorithm && scalar(alpha) == 1;
  if (!fits || !known) {
    return kInvalidValue;
  }
  const bool tf32 = a_type == kFloat32 && *static_cast<int*>(handle) == kTf32Math;
  const double old = scalar(beta);
  const auto run = [&]<class T>(Tag<T>) {
    for (int matrix = 0; matrix < count; ++matrix) {
      const auto rows = packed(static_cast<const T*>(a) + matrix * a_stride, m, k, a_turned ? a_line : 1,
                               a_turned ? 1 : a_line, tf32);
      const auto columns = packed(static_cast<const T*>(b) + matrix * b_stride, n, k, b_turned ? 1 : b_line,
                                  b_turned ? b_line : 1, tf32);
      T* const out = static_cast<T*>(c) + matrix * c_stride;
      for (int64_t j = 0; j < n; ++j) {
        for (int64_t i = 0; i < m; ++i) {
          T& result = out[j * c_line + i];
          double sum = old == 0 ? 0 : old * static_cast<double>(load(result));  // what is overwritten may be NaN
          for (int64_t l = 0; l < k; ++l) {
            sum += static_cast<double>(rows[static_cast<size_t>(i * k + l)]) *
                   static_cast<double>(columns[static_cast<size_t>(j * k + l)]);
          }
          result = round_to<T>(static_cast<Accumulate<T>>(sum));
        }
      }
    }
  };
  dispatch_floating(wide                  ? DType::f64
                    : a_type == kFloat16  ? DType::f16
                    : a_type == kBFloat16 ? DType::bf16
                                          : DType::f32,
                    run);
  return kSuccess;
}

int gemm(void* handle, int a_operation, int b_operation, int m, int n, int k, const void* alpha, const void* a,
         int a_type, int a_line, const void* b, int b_type, int b_line, const void* beta, void* c, int c_type,
         int c_line, int compute_type, int algorithm) {
  return gemm_strided_batched(handle, a_operation, b_operation, m, n, k, alpha, a, a_type, a_line, 0, b, b_type, b_line,
                              0, beta, c, c_type, c_line, 0, 1, compute_type, algorithm);
}

}  // namespace

const Functions& functions() {
  static constexpr Functions all{get_math_mode, set_math_mode, gemm, gemm_strided_batched};
  return all;
}

void* handle() { return &math_mode; }

}  // namespace refinedet::torch_ops::cublas
