// Floor of the op, 256 to 256 channels from 20x20 to 40x40, batch 32: input, weight, lateral and out are 59 MB in
// bfloat16, 14 us at 4.3 TB/s (118 MB and 27 us in float32); the product is 6.7 GFLOP, 10 us at 700 TFLOP/s (in float32
// without TF32 134 us at 50). In between lie the columns, as large as a map: 26 MB (52), which the product writes and
// these kernels read. They stay in the L2 where the caller's tiles are small enough, so that the memory sees each map
// once. Of a single image everything is below the launches, two of 2 to 3 us.
//
// Hence one kernel for all that is not the product, bound by bytes: per element one column and one lateral read and one
// result written, some ten operations. 64-bit divisions find a cell's place: the hardware's way for small numbers is
// taken inside them, and a cell is 8 to 32 elements.
//
// Work is dealt out in cells: a few elements of each of the four taps, as `runs` that lie side by side in the
// maps. A thread moves whole packs where everything is `aligned`, neighbors in a warp neighboring ones, on both sides.
#include "core/deconv_tile.h"
#include "cuda/primitives/pack.h"
#include "deconv_tile.h"

namespace refinedet::cuda {
namespace {

constexpr int kThreads = 128;

// Where the runs of a cell lie in the maps, and how many elements of each: none where they are cropped.
template <int runs>
struct CellPlace {
  int64_t column;  // the cell's first in the columns
  int64_t channel;
  int64_t at[runs];
  int count[runs];
};

// Channels-last: n channels of one pixel, a run per tap. The columns are (pixel, channel, tap) where `taps_inner`, else
// (pixel, tap, channel).
template <class T, int n, bool aligned, bool taps_inner>
struct PixelCells {
  using Element = T;
  static constexpr int kRuns = 4, kSize = n;
  static constexpr bool kAligned = aligned, kChannelsSideBySide = true;
  using Runs = Pack<T, n>[kRuns];
  DeconvSumTile tile;

  REFINEDET_HD int64_t count() const { return tile.lines * tile.in_width * (tile.channels / n); }

  __device__ CellPlace<kRuns> place(int64_t i) const {
    const int64_t packs = tile.channels / n, pixel = i / packs, channel = i % packs * n;
    const int64_t line = tile.first_line + pixel / tile.in_width, x = pixel % tile.in_width * 2;
    const int64_t image = line / tile.in_height, y = line % tile.in_height * 2;
    const int64_t row = tile.out_width * tile.channels;
    const int64_t first = (image * tile.out_height + y) * row + x * tile.channels + channel;
    const int right = x + 1 < tile.out_width ? n : 0, below = y + 1 < tile.out_height ? n : 0;
    return {(pixel * tile.channels + (taps_inner ? channel : 0)) * 4 + (taps_inner ? 0 : channel),
            channel,
            {first, first + tile.channels, first + row, first + row + tile.channels},
            {n, right, below, below == 0 ? 0 : right}};
  }

  __device__ void load(const T* columns, const CellPlace<kRuns>& place, Runs& runs) const {
    Pack<T, n> packs[4];
    GPU_UNROLL
    for (int k = 0; k < 4; ++k) {
      packs[k] = load_pack<n, aligned>(columns + place.column + k * stride());
    }
    GPU_UNROLL
    for (int j = 0; j < 4 * n; ++j) {
      runs[tap_of(j)].at[element_of(j)] = packs[j / n].at[j % n];
    }
  }

  __device__ void store(T* columns, const CellPlace<kRuns>& place, const Runs& runs) const {
    Pack<T, n> packs[4];
    GPU_UNROLL
    for (int j = 0; j < 4 * n; ++j) {
      packs[j / n].at[j % n] = runs[tap_of(j)].at[element_of(j)];
    }
    GPU_UNROLL
    for (int k = 0; k < 4; ++k) {
      store_pack<n, aligned>(columns + place.column + k * stride(), packs[k]);
    }
  }

 private:
  REFINEDET_HD int64_t stride() const { return taps_inner ? n : tile.channels; }
  // The tap and the channel of the j-th column that the cell moves.
  static REFINEDET_HD int tap_of(int j) { return taps_inner ? j % 4 : j / n; }
  static REFINEDET_HD int element_of(int j) { return taps_inner ? j / 4 : j % n; }
};

// Contiguous maps: n / 2 pixels of a line of one channel give two runs, n elements of the upper and of the lower line
// of the map. The columns are planes as well, four to a channel.
template <class T, int n, bool aligned>
struct PlaneCells {
  using Element = T;
  static constexpr int kRuns = 2, kSize = n, kPixels = n / 2;
  static constexpr bool kAligned = aligned, kChannelsSideBySide = false;
  using Runs = Pack<T, n>[kRuns];
  DeconvSumTile tile;

  REFINEDET_HD int64_t count() const { return tile.lines * tile.channels * (tile.in_width / kPixels); }

  __device__ CellPlace<kRuns> place(int64_t i) const {
    const int64_t packs = tile.in_width / kPixels, x = i % packs * kPixels, row = i / packs;
    const int64_t y = row % lines(), plane = row / lines();
    const int64_t map_y = 2 * (tile.first_line % tile.in_height + y);
    const int64_t map_plane = tile.first_line / tile.in_height * tile.channels + plane;
    const int64_t first = (map_plane * tile.out_height + map_y) * tile.out_width + 2 * x;
    const int inside = aligned || 2 * x + n <= tile.out_width ? n : n - 1;
    return {4 * plane * plane_size() + y * tile.in_width + x,
            plane % tile.channels,
            {first, first + tile.out_width},
            {inside, map_y + 1 < tile.out_height ? inside : 0}};
  }

  __device__ void load(const T* columns, const CellPlace<kRuns>& place, Runs& runs) const {
    GPU_UNROLL
    for (int k = 0; k < 4; ++k) {
      const auto tap = load_pack<kPixels, aligned>(columns + place.column + k * plane_size());
      GPU_UNROLL
      for (int x = 0; x < kPixels; ++x) {
        runs[k / 2].at[2 * x + k % 2] = tap.at[x];
      }
    }
  }

  __device__ void store(T* columns, const CellPlace<kRuns>& place, const Runs& runs) const {
    GPU_UNROLL
    for (int k = 0; k < 4; ++k) {
      Pack<T, kPixels> tap;
      GPU_UNROLL
      for (int x = 0; x < kPixels; ++x) {
        tap.at[x] = runs[k / 2].at[2 * x + k % 2];
      }
      store_pack<kPixels, aligned>(columns + place.column + k * plane_size(), tap);
    }
  }

 private:
  REFINEDET_HD int64_t lines() const { return min2(tile.lines, tile.in_height); }  // of each image
  REFINEDET_HD int64_t plane_size() const { return lines() * tile.in_width; }
};

// f(cells) with the widest cells that these arrays allow: `columns` of the tile, `maps` like the maps.
template <class T, class F>
REFINEDET_HOST void with_cells(const DeconvSumTile& tile, const void* columns, std::initializer_list<const void*> maps,
                               const F& f) {
  constexpr int n = kPack<T>, half = n < 4 ? 2 : n / 2;
  bool maps_aligned = true;
  for (const void* p : maps) {
    maps_aligned = maps_aligned && is_aligned(p, 16);  // and null
  }
  if (tile.channels_last) {
    const bool wide = maps_aligned && is_aligned(columns, 16) && tile.channels % n == 0;
    if (tile.taps_inner) {
      wide ? f(PixelCells<T, n, true, true>{tile}) : f(PixelCells<T, 1, false, true>{tile});
    } else {
      wide ? f(PixelCells<T, n, true, false>{tile}) : f(PixelCells<T, 1, false, false>{tile});
    }
    return;
  }
  const bool whole = maps_aligned && is_aligned(columns, 16) && tile.out_width == 2 * tile.in_width;
  if (whole && tile.in_width % (n / 2) == 0) {
    f(PlaneCells<T, n, true>{tile});
  } else if (whole && tile.in_width % (half / 2) == 0) {
    f(PlaneCells<T, half, true>{tile});
  } else {
    f(PlaneCells<T, 2, false>{tile});
  }
}

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
                   const T* __restrict__ lateral, T* __restrict__ out, Accumulate<T> low) {
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

void deconv_scatter(const DeconvScatterArgs& args, Stream stream) {
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

void deconv_gather(const DeconvGatherArgs& args, Stream stream) {
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
