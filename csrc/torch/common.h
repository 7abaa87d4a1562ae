// What the torch ops share: checks, element types, torch's threads. Only torch's stable ABI.
#pragma once

#include <torch/csrc/inductor/aoti_torch/c/shim.h>
#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>
#include <torch/headeronly/core/ScalarType.h>
#include <torch/headeronly/util/Exception.h>

#include <array>
#include <optional>
#include <string>
#include <vector>

#include "core/dtype.h"
#include "core/parallel.h"
#include "device.h"

namespace refinedet::torch_ops {

using torch::headeronly::ScalarType;
using torch::stable::Tensor;

// "(2, 3, 4)"
std::string shape_of(const Tensor& t);

// The kernels' name of a floating element type; throws for others, naming the argument.
DType dtype_of(const Tensor& t, const char* name);

void check_dtype(const Tensor& t, ScalarType dtype, const char* name);
void check_cpu(const Tensor& t, const char* name);
void check_variances(const std::vector<double>& variances);

// Throws unless the tensor is (..., last).
void check_last_dim(const Tensor& t, int64_t last, const char* name);

void check_clip_to(const std::optional<std::vector<double>>& clip_to);

// Throws unless `rows` is (..., 4), and `anchors` as well, in the same device and of the same dtype, of the same shape
// or of the last dimensions of that, so that its rows repeat. Returns the device.
Device check_box_rows(const Tensor& rows, const char* name, const Tensor& anchors);

// torch's own pool, with torch.set_num_threads obeyed.
ParallelFor torch_threads();

using Sizes = torch::headeronly::IntHeaderOnlyArrayRef;

// Throws where a C function of torch failed, saying what could not be done: check_status(code, "could not ...").
void check_status(AOTITorchError code, const char* failure);

// A new contiguous tensor.
Tensor new_tensor(Sizes sizes, ScalarType dtype, Device device = Device::cpu());

std::vector<int64_t> sizes_of(const Tensor& t);

// Whether a (B, C, H, W) tensor is dense in the order B, H, W, C, and not in the usual order as well.
bool is_channels_last(const Tensor& t);

// Runs an op where `device` says: run<cpu::decode_boxes, cuda::decode_boxes>(device, args).
template <auto cpu_kernel, auto cuda_kernel, class Args>
void run(Device device, const Args& args) {
  if constexpr (kWithCuda) {
    if (device.on_gpu()) {
      return cuda_kernel(args, CudaScope(device).stream());
    }
  }
  cpu_kernel(args, torch_threads());
}

// The same where the CUDA kernel has scratch memory, of cuda_bytes(args) bytes. It goes back to torch when the call is
// over, which gives it out again for what follows on the stream.
template <auto cpu_kernel, auto cuda_kernel, auto cuda_bytes, class Args>
void run(Device device, const Args& args) {
  if constexpr (kWithCuda) {
    if (device.on_gpu()) {
      const CudaScope scope(device);
      const Tensor workspace = new_tensor({cuda_bytes(args)}, ScalarType::Byte, device);
      return cuda_kernel(args, workspace.mutable_data_ptr(), scope.stream());
    }
  }
  cpu_kernel(args, torch_threads());
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
