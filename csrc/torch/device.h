// Where an op computes: on the CPU or on one GPU; and the registration of ops for both.
//
// With REFINEDET_CUDA_ON_HOST these sources become a library of its own for tests, refinedet_ext_on_host, whose ops
// take CPU tensors and run the CUDA kernels on the CPU (tests/cuda_on_host).
#pragma once

#include <torch/csrc/stable/accelerator.h>
#include <torch/csrc/stable/device.h>
#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/tensor.h>

#include <optional>

#include "core/stream.h"

#if defined(REFINEDET_CUDA_ON_HOST)
#define REFINEDET_LIBRARY refinedet_ext_on_host
#define REFINEDET_LIBRARY_NAME "refinedet_ext_on_host"
#else
#define REFINEDET_LIBRARY refinedet_ext
#define REFINEDET_LIBRARY_NAME "refinedet_ext"
#endif

namespace refinedet::torch_ops {

#if defined(REFINEDET_WITH_CUDA)
inline constexpr bool kWithCuda = true;
#else
inline constexpr bool kWithCuda = false;
#endif

class Device {
 public:
  static Device cpu() { return Device(-1); }
  static Device cuda(int32_t index) { return Device(index); }

  // Whether the CUDA kernels are the ones to run.
  bool on_gpu() const {
#if defined(REFINEDET_CUDA_ON_HOST)
    return true;
#else
    return index_ >= 0;
#endif
  }
  int32_t type() const;
  int32_t index() const { return index_; }  // -1 on the CPU
  torch::stable::Device stable() const;
  bool operator==(const Device& other) const { return index_ == other.index_; }

 private:
  explicit Device(int32_t index) : index_(index) {}
  int32_t index_;
};

// Throws for devices other than the CPU and CUDA's, naming the argument.
Device device_of(const torch::stable::Tensor& t, const char* name);
void check_device(const torch::stable::Tensor& t, Device device, const char* name);

// For ops whose CUDA kernels compute in float32: throws for a float64 tensor on a GPU.
void check_no_double_on_gpu(const torch::stable::Tensor& t, Device device, const char* name);

#if defined(REFINEDET_WITH_CUDA) && !defined(REFINEDET_CUDA_ON_HOST)
// A function of torch's CUDA library or of the libraries that it depends on, or null. Looked up at run time, so that
// this library also loads under a torch without CUDA.
void* cuda_symbol(const char* name);
#endif

// Whether torch's convolutions may round float32 to TF32 on a GPU at this moment: torch.backends.cudnn.conv, asked in
// Python (refinedet_ext/_library.py). In a process without Python: no.
bool convolutions_use_tf32();

// While it lives, `device` is the current device; and the stream that torch has there.
class CudaScope {
 public:
  explicit CudaScope(Device device);
  cuda::Stream stream() const { return stream_; }

 private:
  std::optional<torch::stable::accelerator::DeviceGuard> guard_;
  cuda::Stream stream_ = nullptr;
};

}  // namespace refinedet::torch_ops

// REFINEDET_KERNELS(m) { m.impl("op", TORCH_BOX(&op)); }: for every device that this build has kernels for.
#if defined(REFINEDET_CUDA_ON_HOST) || !defined(REFINEDET_WITH_CUDA)
#define REFINEDET_KERNELS(m) STABLE_TORCH_LIBRARY_IMPL(REFINEDET_LIBRARY, CPU, m)
#else
#define REFINEDET_KERNELS(m)                                                                 \
  static void register_kernels(torch::stable::detail::StableLibrary& m);                     \
  STABLE_TORCH_LIBRARY_IMPL(REFINEDET_LIBRARY, CPU, library) { register_kernels(library); }  \
  STABLE_TORCH_LIBRARY_IMPL(REFINEDET_LIBRARY, CUDA, library) { register_kernels(library); } \
  static void register_kernels(torch::stable::detail::StableLibrary& m)
#endif
