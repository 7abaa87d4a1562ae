#include "cuda/primitives/device.h"
#include "weight_grad.h"

namespace refinedet::cuda {
namespace {

template <class T>
__global__ void add_kernel(const T* __restrict__ terms, int64_t term_count, int64_t size, bool first,
                           Accumulate<T>* __restrict__ sum, T* __restrict__ result) {
  for (int64_t i = grid_first(); i < size; i += grid_step()) {
    Accumulate<T> x = first ? Accumulate<T>(0) : sum[i];
    for (int64_t k = 0; k < term_count; ++k) {
      x += load(terms[k * size + i]);
    }
    if (result != nullptr) {
      result[i] = round_to<T>(x);
    } else {
      sum[i] = x;
    }
  }
}

}  // namespace

void add_terms(const AddTermsArgs& args, Stream stream) {
  constexpr int kThreads = 128;
  if (args.size == 0) {
    return;
  }
  dispatch_floating(args.dtype, [&]<class T>(Tag<T>) {
    launch("add_terms", add_kernel<T>, blocks_for(args.size, kThreads), dim3(kThreads), 0, stream,
           static_cast<const T*>(args.terms), args.term_count, args.size, args.first,
           static_cast<Accumulate<T>*>(args.sum), static_cast<T*>(args.result));
  });
}

}  // namespace refinedet::cuda
