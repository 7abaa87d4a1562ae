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

#include "../cuda/stream.h"

#if defined(REFINEDET_CUDA_ON_HOST)
#define REFINEDET_LIBRARY refinedet_ext_on_host
#else
#define REFINEDET_LIBRARY refinedet_ext
#endif

namespace refinedet::torch_ops {

class Place {
 public:
  static Place cpu() { return Place(-1); }
  static Place cuda(int32_t index) { return Place(index); }

  // Whether the CUDA kernels are the ones to run.
  bool on_gpu() const {
#if defined(REFINEDET_CUDA_ON_HOST)
    return true;
#else
    return index_ >= 0;
#endif
  }
  int32_t device_type() const;
  int32_t device_index() const { return index_; }  // -1 on the CPU
  torch::stable::Device device() const;
  bool operator==(const Place& other) const { return index_ == other.index_; }

 private:
  explicit Place(int32_t index) : index_(index) {}
  int32_t index_;
};

// Throws for devices other than the CPU and CUDA's, naming the argument.
Place place_of(const torch::stable::Tensor& t, const char* name);
void check_place(const torch::stable::Tensor& t, Place place, const char* name);

// For ops whose CUDA kernels compute in float32: throws for a float64 tensor on a GPU.
void check_no_double_on_gpu(const torch::stable::Tensor& t, Place place, const char* name);

// While it lives, `place` is the current device; and the stream that torch has there.
class CudaScope {
 public:
  explicit CudaScope(Place place);
  cuda::Stream stream() const { return stream_; }

 private:
  std::optional<torch::stable::accelerator::DeviceGuard> guard_;
  cuda::Stream stream_ = nullptr;
};

}  // namespace refinedet::torch_ops

// REFINEDET_RUN(place, op, args): the kernel `op` of the place, which has the same arguments everywhere.
// REFINEDET_RUN_WITH_WORKSPACE: the same where the CUDA kernel has scratch memory, of op_workspace(args) bytes. It goes
// back to torch when the call is over, which gives it out again for what follows on the stream.
#if defined(REFINEDET_WITH_CUDA)
#define REFINEDET_RUN(place, op, args) \
  ((place).on_gpu() ? cuda::op(args, CudaScope(place).stream()) : cpu::op(args, torch_threads()))
#define REFINEDET_RUN_WITH_WORKSPACE(place, op, args)                                             \
  do {                                                                                            \
    if ((place).on_gpu()) {                                                                       \
      const CudaScope scope(place);                                                               \
      const Tensor workspace = new_tensor({cuda::op##_workspace(args)}, ScalarType::Byte, place); \
      cuda::op(args, workspace.mutable_data_ptr(), scope.stream());                               \
    } else {                                                                                      \
      cpu::op(args, torch_threads());                                                             \
    }                                                                                             \
  } while (false)
#else
#define REFINEDET_RUN(place, op, args) cpu::op(args, torch_threads())
#define REFINEDET_RUN_WITH_WORKSPACE(place, op, args) cpu::op(args, torch_threads())
#endif

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
