// A transposition: every element read and written once, nothing else. Both sides want neighbouring threads on
// neighbouring addresses, so a block turns a tile of 64 pixels by 64 channels in shared memory; with 16 bytes per
// access where rows of that size are aligned, else element by element, 64 of them in a row.
#include "cuda/primitives/convert.h"
#include "pixel_planes.h"

namespace refinedet::cuda {
namespace {

constexpr int kTile = 64, kThreads = 256;

struct Ways {
  bool pixel_packs, channel_packs;  // accesses of 16 bytes on the planes' side, on the rows' side
};

// f(pixel, channel) for the packs of P pixels (along planes) or P channels (along rows) of a tile that are this
// thread's and lie within the tile's part of the matrix.
template <int P, bool along_planes, class F>
__device__ __forceinline__ void for_packs(int pixels, int channels, const F& f) {
  constexpr int kPacks = kTile / P;
  const int along = static_cast<int>(threadIdx.x) % kPacks * P;
  for (int across = static_cast<int>(threadIdx.x) / kPacks; across < kTile; across += kThreads / kPacks) {
    const int pixel = along_planes ? along : across, channel = along_planes ? across : along;
    if (pixel < pixels && channel < channels) {
      f(pixel, channel);
    }
  }
}

struct Tile {
  int64_t pixel, channel;  // the first, the pixel within the range
  int pixels, channels;

  __device__ explicit Tile(const PixelPlanes& shape)
      : pixel(static_cast<int64_t>(blockIdx.x) * kTile),
        channel(static_cast<int64_t>(blockIdx.y) * kTile),
        pixels(static_cast<int>(min2<int64_t>(kTile, shape.range.count - pixel))),
        channels(static_cast<int>(min2<int64_t>(kTile, shape.channels - channel))) {}

  __device__ int64_t in_planes(const PixelPlanes& shape, int p, int c) const {
    const int64_t number = shape.range.begin + pixel + p, image = number / shape.pixels;
    return (image * shape.channels + channel + c) * shape.pixels + number % shape.pixels;
  }
  __device__ int64_t in_rows(const PixelPlanes& shape, int p, int c) const {
    return (pixel + p) * shape.channels + channel + c;
  }
};

using Shared = float[kTile][kTile + 1];  // [channel][pixel]

template <int P, class T>
__device__ __forceinline__ void read_planes(const PixelPlanes& shape, const Tile& tile, const T* planes,
                                            Shared& shared) {
  for_packs<P, true>(tile.pixels, tile.channels, [&](int p, int c) {
    float x[P];
    widen(load_pack<P, true>(planes + tile.in_planes(shape, p, c)), x);
    GPU_UNROLL
    for (int i = 0; i < P; ++i) {
      shared[c][p + i] = x[i];
    }
  });
}

template <int P, class T>
__device__ __forceinline__ void write_planes(const PixelPlanes& shape, const Tile& tile, const Shared& shared,
                                             T* planes) {
  for_packs<P, true>(tile.pixels, tile.channels, [&](int p, int c) {
    float x[P];
    GPU_UNROLL
    for (int i = 0; i < P; ++i) {
      x[i] = shared[c][p + i];
    }
    store_pack<P, true>(planes + tile.in_planes(shape, p, c), narrow<T>(x));
  });
}

template <int P, class T>
__device__ __forceinline__ void read_rows(const PixelPlanes& shape, const Tile& tile, const T* rows, Shared& shared) {
  for_packs<P, false>(tile.pixels, tile.channels, [&](int p, int c) {
    float x[P];
    widen(load_pack<P, true>(rows + tile.in_rows(shape, p, c)), x);
    GPU_UNROLL
    for (int i = 0; i < P; ++i) {
      shared[c + i][p] = x[i];
    }
  });
}

template <int P, class T>
__device__ __forceinline__ void write_rows(const PixelPlanes& shape, const Tile& tile, const Shared& shared, T* rows) {
  for_packs<P, false>(tile.pixels, tile.channels, [&](int p, int c) {
    float x[P];
    GPU_UNROLL
    for (int i = 0; i < P; ++i) {
      x[i] = shared[c + i][p];
    }
    store_pack<P, true>(rows + tile.in_rows(shape, p, c), narrow<T>(x));
  });
}

template <class T>
__global__ void __launch_bounds__(kThreads)
    planes_to_rows_kernel(PixelPlanes shape, Ways ways, const T* planes, T* rows) {
  GPU_SHARED(float, shared, [kTile][kTile + 1]);
  const Tile tile(shape);
  if (ways.pixel_packs) {
    read_planes<kPack<T>>(shape, tile, planes, shared);
  } else {
    read_planes<1>(shape, tile, planes, shared);
  }
  __syncthreads();
  if (ways.channel_packs) {
    write_rows<kPack<T>>(shape, tile, shared, rows);
  } else {
    write_rows<1>(shape, tile, shared, rows);
  }
}

template <class R, class T>
__global__ void __launch_bounds__(kThreads)
    rows_to_planes_kernel(PixelPlanes shape, Ways ways, const R* rows, T* planes) {
  GPU_SHARED(float, shared, [kTile][kTile + 1]);
  const Tile tile(shape);
  if (ways.channel_packs) {
    read_rows<kPack<R>>(shape, tile, rows, shared);
  } else {
    read_rows<1>(shape, tile, rows, shared);
  }
  __syncthreads();
  if (ways.pixel_packs) {
    write_planes<kPack<T>>(shape, tile, shared, planes);
  } else {
    write_planes<1>(shape, tile, shared, planes);
  }
}

template <class R, class T>
Ways ways_of(const PixelPlanes& shape, const R* rows, const T* planes) {
  return {shape.pixels % kPack<T> == 0 && shape.range.begin % kPack<T> == 0 && shape.range.count % kPack<T> == 0 &&
              is_aligned(planes, 16),
          shape.channels % kPack<R> == 0 && is_aligned(rows, 16)};
}

dim3 tiles_of(const PixelPlanes& shape) {
  return dim3(static_cast<unsigned>(divide_up(shape.range.count, kTile)),
              static_cast<unsigned>(divide_up(shape.channels, kTile)));
}

}  // namespace

void planes_to_rows(const PixelPlanes& shape, const void* planes, void* rows, DType dtype, Stream stream) {
  if (shape.range.count * shape.channels == 0) {
    return;
  }
  dispatch_single(dtype, [&]<class T>(Tag<T>) {
    const T* const from = static_cast<const T*>(planes);
    T* const to = static_cast<T*>(rows);
    launch("planes_to_rows", planes_to_rows_kernel<T>, tiles_of(shape), dim3(kThreads), 0, stream, shape,
           ways_of(shape, to, from), from, to);
  });
}

void rows_to_planes(const PixelPlanes& shape, const void* rows, DType rows_dtype, void* planes, DType dtype,
                    Stream stream) {
  if (shape.range.count * shape.channels == 0) {
    return;
  }
  dispatch_single(dtype, [&]<class T>(Tag<T>) {
    const auto run = [&]<class R>(Tag<R>) {
      const R* const from = static_cast<const R*>(rows);
      T* const to = static_cast<T*>(planes);
      launch("rows_to_planes", rows_to_planes_kernel<R, T>, tiles_of(shape), dim3(kThreads), 0, stream, shape,
             ways_of(shape, from, to), from, to);
    };
    rows_dtype == dtype ? run(Tag<T>{}) : run(Tag<float>{});
  });
}

}  // namespace refinedet::cuda
