#include "cublas.h"

#include <algorithm>
#include <limits>

#include "common.h"

#if defined(REFINEDET_WITH_CUDA)
namespace refinedet::torch_ops {
namespace cublas {
#if !defined(REFINEDET_CUDA_ON_HOST)
namespace {

// From torch's CUDA library or what that depends on: so it is the cuBLAS that torch's handles belong to.
template <class F>
void look_up(F& function, const char* name) {
  function = reinterpret_cast<F>(cuda_symbol(name));
  REFINEDET_CHECK(function != nullptr, "matrix products on a GPU: expected a torch with ", name,
                  " behind its libtorch_cuda.so, found none");
}

const Functions& functions() {
  static const Functions all = [] {
    Functions found{};
    look_up(found.get_math_mode, "cublasGetMathMode");
    look_up(found.set_math_mode, "cublasSetMathMode");
    look_up(found.gemm, "cublasGemmEx");
    look_up(found.gemm_strided_batched, "cublasGemmStridedBatchedEx");
    return found;
  }();
  return all;
}

// torch's own of this thread, with its workspace, set to its current stream.
void* handle() {
  using GetHandle = AOTITorchError (*)(void**);
  static const GetHandle get = [] {
    GetHandle found = nullptr;
    look_up(found, "torch_get_current_cuda_blas_handle");
    return found;
  }();
  void* current = nullptr;
  check_status(get(&current), "torch did not give its cuBLAS handle");
  return current;
}

}  // namespace
#endif
}  // namespace cublas

namespace {

void check(int status, const char* function) {
  REFINEDET_CHECK(status == 0, "could not multiply matrices: ", function, " failed with status ", status);
}

int to_int(int64_t size) {
  REFINEDET_CHECK(size <= std::numeric_limits<int>::max(),
                  "could not multiply matrices: expected sides and strides below 2^31, got ", size);
  return static_cast<int>(size);
}

int type_of(DType dtype) {
  switch (dtype) {
    case DType::f16:
      return cublas::kFloat16;
    case DType::bf16:
      return cublas::kBFloat16;
    case DType::f64:
      return cublas::kFloat64;
    default:
      return cublas::kFloat32;
  }
}

int math_mode(DType dtype, bool tf32) {
  const bool half = element_size(dtype) == 2;
  return half ? cublas::kFloat32Sums : dtype == DType::f32 && tf32 ? cublas::kTf32Math : cublas::kDefaultMath;
}

bool has_dense_rows(const Matrix& m) { return m.column_stride == 1 && m.row_stride >= m.columns; }

// A factor in the words of cuBLAS, which knows matrices column by column: one with dense rows is its own transpose.
struct Factor {
  explicit Factor(const Matrix& m)
      : operation(has_dense_rows(m) ? cublas::kAsItLies : cublas::kTransposed),
        line(to_int(std::max<int64_t>(has_dense_rows(m) ? m.row_stride : m.column_stride, 1))) {}
  int operation, line;
};

// The math mode of a handle while this lives.
class MathMode {
 public:
  MathMode(void* handle, int mode) : handle_(handle) {
    check(cublas::functions().get_math_mode(handle, &before_), "cublasGetMathMode");
    check(cublas::functions().set_math_mode(handle, mode), "cublasSetMathMode");
  }
  ~MathMode() { cublas::functions().set_math_mode(handle_, before_); }
  MathMode(const MathMode&) = delete;
  MathMode& operator=(const MathMode&) = delete;

 private:
  void* handle_;
  int before_ = cublas::kDefaultMath;
};

}  // namespace

void multiply_on_gpu(const Matrix& a, const Matrix& b, const Matrix& out, bool add, bool tf32) {
  if (!has_dense_rows(out)) {
    return multiply_on_gpu(b.transposed(), a.transposed(), out.transposed(), add, tf32);
  }
  // Column by column the transposes lie there: out' = b' a'.
  const Factor first(b), second(a);
  const int m = to_int(out.columns), n = to_int(out.rows), k = to_int(a.columns), type = type_of(out.dtype);
  const int line = to_int(out.row_stride), count = to_int(out.count);
  const bool wide = out.dtype == DType::f64;
  const int compute = wide ? cublas::kComputeFloat64 : cublas::kComputeFloat32;
  const float one = 1, old = add ? 1 : 0;
  const double wide_one = 1, wide_old = add ? 1 : 0;
  const void* const alpha = wide ? static_cast<const void*>(&wide_one) : &one;
  const void* const beta = wide ? static_cast<const void*>(&wide_old) : &old;
  void* const handle = cublas::handle();
  const MathMode mode(handle, math_mode(out.dtype, tf32));
  if (count == 1) {
    check(cublas::functions().gemm(handle, first.operation, second.operation, m, n, k, alpha, b.data, type, first.line,
                                   a.data, type, second.line, beta, out.data, type, line, compute,
                                   cublas::kDefaultAlgorithm),
          "cublasGemmEx");
  } else {
    check(cublas::functions().gemm_strided_batched(handle, first.operation, second.operation, m, n, k, alpha, b.data,
                                                   type, first.line, b.matrix_stride, a.data, type, second.line,
                                                   a.matrix_stride, beta, out.data, type, line, out.matrix_stride,
                                                   count, compute, cublas::kDefaultAlgorithm),
          "cublasGemmStridedBatchedEx");
  }
}

}  // namespace refinedet::torch_ops
#endif
