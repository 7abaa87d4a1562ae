// What the torch ops share: checks, element types, torch's threads. Only torch's stable ABI.
#pragma once

#include <torch/csrc/inductor/aoti_torch/c/shim.h>
#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>
#include <torch/headeronly/core/ScalarType.h>
#include <torch/headeronly/util/Exception.h>

#include <algorithm>
#include <array>
#include <optional>
#include <string>
#include <type_traits>
#include <vector>

#include "core/dtype.h"
#include "core/gemm.h"
#include "core/parallel.h"
#include "device.h"
#include "ops/coding_checks.h"

namespace refinedet::torch_ops {

using torch::headeronly::ScalarType;
using torch::stable::Tensor;

// "(2, 3, 4)"
std::string shape_of(const Tensor& t);

// The kernels' name of a floating element type; throws for others, naming the argument.
DType dtype_of(const Tensor& t, const char* name);

void check_dtype(const Tensor& t, ScalarType dtype, const char* name);

using Sizes = torch::headeronly::IntHeaderOnlyArrayRef;

// A dimension of an expected shape: a size, or the name of one that may be any.
struct Dim {
  Dim(int64_t size) : size(size) {}
  Dim(const char* name) : size(-1), name(name) {}

  int64_t size;
  const char* name = nullptr;
};
using Shape = std::initializer_list<Dim>;

// Throws unless `t` has this shape: check_shape(boxes, "boxes", {"N", 4}). `whose`: the argument that says so.
void check_shape(const Tensor& t, const char* name, Shape shape, const char* whose = nullptr);

// Throws unless `pair` is two numbers of at least `low`.
void check_pair(const std::vector<int64_t>& pair, int64_t low, const char* name);

// As check_shape, and unless it is on that device and of that dtype.
void check_tensor(const Tensor& t, const char* name, Device device, ScalarType dtype, Shape shape,
                  const char* whose = nullptr);

// Throws unless `t` has the device, dtype and shape of `model`.
void check_like(const Tensor& t, const char* name, const Tensor& model, const char* model_name);

// Throws what a check of csrc/ops found, if anything.
void check_problem(const std::string& problem);

// The variances of an op, checked, to its arguments; and what it clips its boxes to.
template <class Args>
void take_variances(const std::vector<double>& variances, Args& args) {
  check_problem(variances_problem(variances));
  std::copy(variances.begin(), variances.end(), args.variances);
}
template <class Args>
void take_clip_to(const std::optional<std::vector<double>>& clip_to, Args& args) {
  args.clip = clip_to.has_value();
  if (args.clip) {
    check_problem(clip_to_problem(*clip_to));
    args.width = (*clip_to)[0];
    args.height = (*clip_to)[1];
  }
}

// Throws unless `rows` is (..., 4), and `anchors` as well, on the same device and of the same dtype, of the same shape
// or of the last dimensions of that, so that its rows repeat. Returns the device.
Device check_box_rows(const Tensor& rows, const char* name, const Tensor& anchors);

// torch's own pool, with torch.set_num_threads obeyed.
ParallelFor torch_threads();

// Matrix products of that type with torch's threads, or on the current stream; of float32 on a GPU in the precision of
// torch's convolutions.
Gemm torch_gemm(Device device, DType dtype);

// Throws where a C function of torch failed, saying what could not be done: check_status(code, "could not ...").
void check_status(AOTITorchError code, const char* failure);

// A new contiguous tensor; and a new map (B, C, H, W), of which a large one on the CPU asks for huge pages: the
// allocator maps it afresh each time, and 4 KiB at a time the first writes to it take longer than they do themselves.
Tensor new_tensor(Sizes sizes, ScalarType dtype, Device device = Device::cpu());
Tensor new_map(Sizes sizes, ScalarType dtype, bool channels_last, Device device);

// The tensor itself where it is contiguous already: torch::stable::contiguous asks the dispatcher even then, which
// costs a microsecond per input. Else a copy, allocated here so that the error says of what where there is no memory.
Tensor as_contiguous(const Tensor& t);

// Whether a (B, C, H, W) tensor is dense in the order B, H, W, C, and not in the usual order as well.
bool is_channels_last(const Tensor& t);

// Runs an op where `device` says: run<cpu::decode_boxes, cuda::decode_boxes>(device, args). Kernels that multiply
// matrices get torch's product. Where the CUDA kernel has scratch memory, of cuda_bytes(args) bytes, or of
// cuda_bytes(args, product), that goes back to torch when the call is over, which gives it out again for what follows
// on the stream.
template <auto cpu_kernel, auto cuda_kernel, auto cuda_bytes = nullptr, class Args>
void run(Device device, const Args& args) {
  constexpr bool kMultiplies = std::is_invocable_v<decltype(cpu_kernel), const Args&, const ParallelFor&, const Gemm&>;
  if constexpr (kWithCuda) {
    if (device.on_gpu()) {
      const CudaScope scope(device);
      if constexpr (std::is_same_v<decltype(cuda_bytes), std::nullptr_t>) {
        return cuda_kernel(args, scope.stream());
      } else {
        const auto memory = [&](int64_t bytes) { return new_tensor({bytes}, ScalarType::Byte, device); };
        if constexpr (kMultiplies) {
          const Gemm gemm = torch_gemm(device, args.shape.dtype);
          constexpr bool kDepends = std::is_invocable_v<decltype(cuda_bytes), const Args&, const Gemm&>;
          int64_t bytes;
          if constexpr (kDepends) {
            bytes = cuda_bytes(args, gemm);
          } else {
            bytes = cuda_bytes(args);
          }
          const Tensor workspace = memory(bytes);
          return cuda_kernel(args, workspace.mutable_data_ptr(), scope.stream(), gemm);
        } else {
          const Tensor workspace = memory(cuda_bytes(args));
          return cuda_kernel(args, workspace.mutable_data_ptr(), scope.stream());
        }
      }
    }
  }
  if constexpr (kMultiplies) {
    cpu_kernel(args, torch_threads(), torch_gemm(device, args.shape.dtype));
  } else {
    cpu_kernel(args, torch_threads());
  }
}

template <class T>
T* data(const Tensor& t) {
  return static_cast<T*>(t.mutable_data_ptr());
}

template <class T>
const T* const_data(const Tensor& t) {
  return static_cast<const T*>(t.const_data_ptr());
}

}  // namespace refinedet::torch_ops

// REFINEDET_CHECK(condition, "boxes: expected ..., got ", x)
#define REFINEDET_CHECK(condition, ...) STD_TORCH_CHECK(condition, __VA_ARGS__)
