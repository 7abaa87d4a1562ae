// Sums of the input's gradient that are the same in any order: every addend is rounded to a multiple of 2^-shift and
// added as a 64-bit integer, which is exact.
//
// The shift follows from a bound on a sum: no element of the columns' gradient exceeds (outputs of a group) * max
// |grad|
// * max |weight|, no addend that times max |mask|, and no more than `contributions` meet in one place. The sums stay
// below 2^62, so the unit is below bound * contributions * 2^-60: with 2^14 contributions 2^-46 of the bound, which is
// itself some hundred times a typical addend. So an addend of 2^-13 of the typical one still keeps the 24 bits of
// float32, and what is smaller vanishes in float32 sums too. Where the gradient is not finite, all of it becomes NaN.
//
// The maxima cost a reading of grad, weight and mask, the integers twice the memory and atomic bytes of floats.
#include "cuda/primitives/convert.h"
#include "deform_tile.h"

namespace refinedet::cuda {
namespace {

constexpr int kThreads = 256;

// The largest absolute value, as the bits of a float: these are ordered as the floats are, with NaN above all.
__global__ void max_magnitude_kernel(DType dtype, const void* data, int64_t size, uint32_t* largest) {
  uint32_t most = 0;
  for (int64_t i = grid_first(); i < size; i += grid_step()) {
    most = max2(most, static_cast<uint32_t>(float_to_bits(load_as(dtype, data, i))) & 0x7fffffffu);
  }
  most = __reduce_max_sync(kAllLanes, most);
  if (threadIdx.x % kWarp == 0) {
    atomicMax(largest, most);
  }
}

__global__ void find_unit_kernel(DeformFixedPoint args) {
  const auto most = [&](int i) { return bits_to_float(static_cast<int32_t>(args.maxima[i])); };
  const float bound = most(0) * most(1) * static_cast<float>(args.outputs) * (args.mask_size > 0 ? most(2) : 1.0f);
  int exponent = 0, bits = 0;
  const bool finite = bound < static_cast<float>(__builtin_huge_val());
  frexpf(finite ? bound : 0.0f, &exponent);  // bound <= 2^exponent
  while ((int64_t{1} << bits) < args.contributions) {
    ++bits;
  }
  const int shift = 60 - exponent - bits;  // one bit is left for the roundings of the products
  *args.fixed = {{ldexpf(1, shift / 2), ldexpf(1, shift - shift / 2)}, ldexp(1.0, -shift), finite ? 0 : 1};
}

template <class T>
__global__ void round_floats_kernel(const float* from, T* to, int64_t size) {
  for (int64_t i = grid_first(); i < size; i += grid_step()) {
    to[i] = round_to<T>(from[i]);
  }
}

template <class T>
__global__ void round_integers_kernel(const int64_t* from, const FixedPoint* fixed, T* to, int64_t size) {
  const bool poisoned = fixed->poisoned != 0;
  const double unit = fixed->down;
  for (int64_t i = grid_first(); i < size; i += grid_step()) {
    const float x = static_cast<float>(static_cast<double>(from[i]) * unit);
    to[i] = round_to<T>(poisoned ? bits_to_float(0x7fc00000) : x);
  }
}

}  // namespace

void deform_fixed_point(const DeformFixedPoint& args, Stream stream) {
  fill_zero(args.maxima, 3 * sizeof(uint32_t), stream);
  const auto find = [&](int which, DType dtype, const void* data, int64_t size) {
    if (size > 0) {
      launch("max_magnitude", max_magnitude_kernel, blocks_for(size, 8 * kThreads), dim3(kThreads), 0, stream, dtype,
             data, size, args.maxima + which);
    }
  };
  find(0, args.dtype, args.grad, args.grad_size);
  find(1, args.dtype, args.weight, args.weight_size);
  find(2, args.mask.dtype, args.mask.data, args.mask_size);
  launch("find_unit", find_unit_kernel, dim3(1), dim3(1), 0, stream, args);
}

void deform_round_sums(const void* from, const FixedPoint* fixed, void* to, DType dtype, int64_t size, Stream stream) {
  if (size == 0) {
    return;
  }
  dispatch_single(dtype, [&]<class T>(Tag<T>) {
    if (fixed != nullptr) {
      launch("round_integers", round_integers_kernel<T>, blocks_for(size, kThreads), dim3(kThreads), 0, stream,
             static_cast<const int64_t*>(from), fixed, static_cast<T*>(to), size);
    } else {
      launch("round_floats", round_floats_kernel<T>, blocks_for(size, kThreads), dim3(kThreads), 0, stream,
             static_cast<const float*>(from), static_cast<T*>(to), size);
    }
  });
}

}  // namespace refinedet::cuda
