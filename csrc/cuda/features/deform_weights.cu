// A megabyte or two, read once and written once, a block per output: the launch is what it costs. Neighbouring threads
// write neighbouring addresses; what they read lies `taps` or `channels` elements apart and comes from the L1.
#include "cuda/primitives/convert.h"
#include "deform_weights.h"

namespace refinedet::cuda {
namespace {

constexpr int kThreads = 256;

template <class T>
__global__ void pack_weights_kernel(DeformWeights shape, const T* weight, T* matrix) {
  const uint32_t taps = static_cast<uint32_t>(shape.taps), channels = static_cast<uint32_t>(shape.channels);
  const uint32_t depth = taps * channels;
  const T* const from = weight + static_cast<int64_t>(blockIdx.x) * depth;
  T* const to = matrix + blockIdx.x * shape.line;
  for (uint32_t i = threadIdx.x; i < shape.line; i += blockDim.x) {
    to[i] = i < depth ? from[shape.channels_last ? i : i % channels * taps + i / channels] : T{};
  }
}

template <class M, class T>
__global__ void unpack_weights_kernel(DeformWeights shape, const M* matrix, T* weight) {
  const uint32_t taps = static_cast<uint32_t>(shape.taps), channels = static_cast<uint32_t>(shape.channels);
  const uint32_t depth = taps * channels;
  const M* const from = matrix + blockIdx.x * shape.line;
  T* const to = weight + static_cast<int64_t>(blockIdx.x) * depth;
  for (uint32_t i = threadIdx.x; i < depth; i += blockDim.x) {
    to[i] = round_to<T>(load(from[shape.channels_last ? i : i % taps * channels + i / taps]));
  }
}

}  // namespace

void deform_pack_weights(const DeformWeights& shape, const void* weight, void* matrix, DType dtype, Stream stream) {
  if (shape.outputs * shape.line == 0) {
    return;
  }
  dispatch_single(dtype, [&]<class T>(Tag<T>) {
    launch("deform_pack_weights", pack_weights_kernel<T>, dim3(static_cast<unsigned>(shape.outputs)), dim3(kThreads), 0,
           stream, shape, static_cast<const T*>(weight), static_cast<T*>(matrix));
  });
}

void deform_unpack_weights(const DeformWeights& shape, const void* matrix, DType matrix_dtype, void* weight,
                           DType dtype, Stream stream) {
  if (shape.outputs * shape.taps * shape.channels == 0) {
    return;
  }
  dispatch_single(dtype, [&]<class T>(Tag<T>) {
    const auto run = [&]<class M>(Tag<M>) {
      launch("deform_unpack_weights", unpack_weights_kernel<M, T>, dim3(static_cast<unsigned>(shape.outputs)),
             dim3(kThreads), 0, stream, shape, static_cast<const M*>(matrix), static_cast<T*>(weight));
    };
    matrix_dtype == dtype ? run(Tag<T>{}) : run(Tag<float>{});
  });
}

}  // namespace refinedet::cuda
