// Floor of the op, 256 to 256 channels from 20x20 to 40x40, batch 32: input, weight, lateral and out are 59 MB in
// bfloat16, 14 us at 4.3 TB/s (118 MB and 27 us in float32); the product is 6.7 GFLOP, 10 us at 700 TFLOP/s (in float32
// without TF32 134 us at 50). In between lie the columns, as large as a map: 26 MB (52), which the product writes and
// these kernels read. They stay in the L2 where the caller's tiles are small enough, so that the memory sees each map
// once. Of a single image everything is below the launches, two of 2 to 3 us.
//
// Hence one kernel for all that is not the product, bound by bytes: per element one column and one lateral read and one
// result written, some ten operations. 64-bit divisions find a cell's place: the hardware's way for small numbers is
// taken inside them, and a cell is 8 to 32 elements.
#include "core/feature_sum.h"
#include "deconv_sum.h"
#include "deconv_sum_cells.h"

namespace refinedet::cuda {
namespace {

constexpr int kThreads = 128;

// The elements of a run that are inside the map, zeros for the others.
template <class Cells>
__device__ __forceinline__ auto load_run(const typename Cells::Element* p, int count) {
  constexpr int n = Cells::kSize;
  Pack<typename Cells::Element, n> run{};
  if constexpr (Cells::kAligned) {
    if (count > 0) {
      run = load_pack<n, true>(p);
    }
  } else {
    GPU_UNROLL
    for (int e = 0; e < n; ++e) {
      if (e < count) {
        run.at[e] = p[e];
      }
    }
  }
  return run;
}

template <class Cells>
__device__ __forceinline__ void store_run(typename Cells::Element* p, int count,
                                          const Pack<typename Cells::Element, Cells::kSize>& run) {
  constexpr int n = Cells::kSize;
  if constexpr (Cells::kAligned) {
    if (count > 0) {
      store_pack<n, true>(p, run);
    }
  } else {
    GPU_UNROLL
    for (int e = 0; e < n; ++e) {
      if (e < count) {
        p[e] = run.at[e];
      }
    }
  }
}

template <class Cells, class T>
__global__ void __launch_bounds__(kThreads)
    scatter_kernel(Cells cells, const T* __restrict__ columns, const T* __restrict__ bias,
                   const T* __restrict__ lateral, T* __restrict__ out, Work<T> low) {
  constexpr int n = Cells::kSize, biases = Cells::kChannelsSideBySide ? n : 1;
  const int64_t total = cells.count();
  for (int64_t i = grid_first(); i < total; i += grid_step()) {
    const auto place = cells.place(i);
    typename Cells::Runs runs;
    cells.load(columns, place, runs);
    Pack<T, n> side[Cells::kRuns];
    GPU_UNROLL
    for (int r = 0; r < Cells::kRuns; ++r) {
      side[r] = load_run<Cells>(lateral + place.at[r], place.count[r]);
    }
    Pack<T, biases> b{};
    if (bias != nullptr) {
      b = load_pack<biases, Cells::kAligned>(bias + place.channel);
    }
    GPU_UNROLL
    for (int r = 0; r < Cells::kRuns; ++r) {
      Pack<T, n> result;
      GPU_UNROLL
      for (int e = 0; e < n; ++e) {
        result.at[e] = sum_features<T>(load(runs[r].at[e]), load(b.at[e % biases]), side[r].at[e], low);
      }
      store_run<Cells>(out + place.at[r], place.count[r], result);
    }
  }
}

template <class Cells, class T>
__global__ void __launch_bounds__(kThreads)
    gather_kernel(Cells cells, const T* __restrict__ grad, const T* __restrict__ out, T* __restrict__ columns,
                  T* __restrict__ grad_lateral) {
  constexpr int n = Cells::kSize;
  const int64_t total = cells.count();
  for (int64_t i = grid_first(); i < total; i += grid_step()) {
    const auto place = cells.place(i);
    typename Cells::Runs runs;
    GPU_UNROLL
    for (int r = 0; r < Cells::kRuns; ++r) {
      runs[r] = load_run<Cells>(grad + place.at[r], place.count[r]);
    }
    if (out != nullptr) {
      Pack<T, n> results[Cells::kRuns];
      GPU_UNROLL
      for (int r = 0; r < Cells::kRuns; ++r) {
        results[r] = load_run<Cells>(out + place.at[r], place.count[r]);
      }
      GPU_UNROLL
      for (int r = 0; r < Cells::kRuns; ++r) {
        GPU_UNROLL
        for (int e = 0; e < n; ++e) {
          runs[r].at[e] = relu_gradient(runs[r].at[e], results[r].at[e]);
        }
        store_run<Cells>(grad_lateral + place.at[r], place.count[r], runs[r]);
      }
    }
    if (columns != nullptr) {
      cells.store(columns, place, runs);
    }
  }
}

}  // namespace

void deconv_sum_scatter(const DeconvSumArgs& args, Stream stream) {
  dispatch_floating(args.tile.dtype, [&]<class T>(Tag<T>) {
    with_cells<T>(args.tile, args.columns, {args.lateral, args.out, args.bias}, [&]<class Cells>(const Cells& cells) {
      if (cells.count() > 0) {
        launch("deconv_sum", scatter_kernel<Cells, T>, blocks_for(cells.count(), kThreads), dim3(kThreads), 0, stream,
               cells, static_cast<const T*>(args.columns), static_cast<const T*>(args.bias),
               static_cast<const T*>(args.lateral), static_cast<T*>(args.out), lowest_feature<T>(args.relu));
      }
    });
  });
}

void deconv_sum_gather(const DeconvSumBackwardArgs& args, Stream stream) {
  dispatch_floating(args.tile.dtype, [&]<class T>(Tag<T>) {
    with_cells<T>(
        args.tile, args.columns, {args.grad, args.out, args.grad_lateral}, [&]<class Cells>(const Cells& cells) {
          if (cells.count() > 0) {
            launch("deconv_sum_backward", gather_kernel<Cells, T>, blocks_for(cells.count(), kThreads), dim3(kThreads),
                   0, stream, cells, static_cast<const T*>(args.grad), static_cast<const T*>(args.out),
                   static_cast<T*>(args.columns), static_cast<T*>(args.grad_lateral));
          }
        });
  });
}

}  // namespace refinedet::cuda
