// deconv_sum between the columns of a tile, in the order (pixel, channel, tap), and the maps. Elements move between the
// two orders in registers: a loop over single elements would take as long as a tenth of the product.
#include "channel_steps.h"
#include "core/deconv_tile.h"
#include "cpu/runtime/buffer.h"
#include "cpu/runtime/level.h"
#include "cpu/simd/register_transpose.h"
#include "deconv_tile.h"

namespace refinedet::cpu::REFINEDET_CPU_LEVEL {
namespace {

// Columns pass through a small block on the stack in which they lie as in the maps: reordering them is one plain loop,
// whatever is computed, and touching the maps another, whatever their order and cropping.
constexpr int64_t kPixelBlock = 256;   // channels of one pixel, four taps each
constexpr int64_t kPlanePixels = 512;  // of a few channels, so many that the maps are read and written in long runs
template <class C>
constexpr int64_t kPlanes = 64 / (4 * sizeof(C));    // those channels: a cache line of a pixel's columns
constexpr int64_t kSumRows = 16, kSumColumns = 256;  // summed up before the sum goes on in double
constexpr int64_t kGrain = 16384;                    // map elements per task: some ten microseconds

REFINEDET_HD int64_t tasks_of(int64_t elements) { return max2<int64_t>(1, kGrain / max2<int64_t>(1, elements)); }

// Calls f(Tag<T>{}, Tag<C>{}) for the types of the maps and of the columns.
template <class F>
REFINEDET_HD void dispatch_tile(const DeconvSumTile& tile, const F& f) {
  switch (tile.dtype) {
    case DType::f32:
      return f(Tag<float>{}, Tag<float>{});
    case DType::f64:
      return f(Tag<double>{}, Tag<double>{});
    case DType::f16:
      return f(Tag<Half>{}, Tag<float>{});
    case DType::bf16:
      return tile.columns == DType::bf16 ? f(Tag<BFloat16>{}, Tag<BFloat16>{}) : f(Tag<BFloat16>{}, Tag<float>{});
  }
}

template <class To, class From>
REFINEDET_HD To convert(From x) {
  if constexpr (std::is_same_v<To, From>) {
    return x;
  } else {
    return load(x);
  }
}

// ---------------------------------------------------------------- between columns and blocks of the maps' order

// Compilers do well with words, but not with halves of them.
template <class C>
inline constexpr bool kInRegisters = sizeof(C) == 2;

// Channels-last maps.

// Four interleaved taps of n channels: columns[4 c + k] and block[k n + c].
template <class C, class W>
REFINEDET_HD void split_taps(const C* __restrict columns, W* __restrict block, int64_t n) {
  for (int64_t c = 0; c < n; ++c) {
    block[c] = load(columns[4 * c]);
    block[n + c] = load(columns[4 * c + 1]);
    block[2 * n + c] = load(columns[4 * c + 2]);
    block[3 * n + c] = load(columns[4 * c + 3]);
  }
}

template <class C>
REFINEDET_HD void join_taps(const C* __restrict block, C* __restrict columns, int64_t n) {
  int64_t c = 0;
  if constexpr (kInRegisters<C>) {
    constexpr int64_t lanes = RegisterOf<2>::lanes;
    for (; c + lanes <= n; c += lanes) {
      RegisterOf<2>::type v[4];
      for (int k = 0; k < 4; ++k) {
        load_bytes(block + k * n + c, kLaneBytes, v[k]);
      }
      rotate_up<2>(v);
      rotate_up<2>(v);
      for (int i = 0; i < 4; ++i) {
        store_bytes(columns + 4 * c + i * lanes, kLaneBytes, v[i]);
      }
    }
  }
  for (; c < n; ++c) {
    columns[4 * c] = block[c];
    columns[4 * c + 1] = block[n + c];
    columns[4 * c + 2] = block[2 * n + c];
    columns[4 * c + 3] = block[3 * n + c];
  }
}

// Contiguous maps.

// Columns [line][x][channel][tap] of some lines of the input, or of a part of one, and a block of lines of planes of
// the output, [channel][line][ky][2 x + kx]. Channels lie `plane` elements apart in the block, with room for
// kPlaneRoom<C> elements after the last line.
template <class C>
struct PlaneBlock {
  C* data;
  int64_t plane;
  int64_t lines, pixels, channels;
};

// The two taps of a row are neighbors on both sides, and move as one.
template <class C>
inline constexpr int kPairs = kLaneBytes / (2 * static_cast<int>(sizeof(C)));  // in a register
template <class C>
inline constexpr int64_t kPlaneRoom = 2 * kPairs<C>;

template <bool to_block, class C, class Columns>
REFINEDET_HD void move_pair(Columns* pair, C* to) {
  if constexpr (to_block) {
    __builtin_memcpy(to, pair, 2 * sizeof(C));
  } else {
    __builtin_memcpy(pair, to, 2 * sizeof(C));
  }
}

// kPairs / 2 channels, two rows each, of up to kPairs pixels. In the block whole registers are read and written: behind
// the last pixel of a row comes the next one, which is written later, or room.
template <bool to_block, class C, class Columns>
REFINEDET_HD void move_registers(Columns* columns, int64_t stride, C* block, int64_t plane, int64_t row,
                                 int64_t count) {
  constexpr int pairs = kPairs<C>;
  typename RegisterOf<2 * sizeof(C)>::type v[pairs];
#pragma GCC unroll 16
  for (int i = 0; i < pairs; ++i) {
    if constexpr (to_block) {
      load_bytes(columns + min2<int64_t>(i, count - 1) * stride, kLaneBytes, v[i]);
    } else {
      load_bytes(block + i / 2 * plane + i % 2 * row, kLaneBytes, v[i]);
    }
  }
  transpose<2 * sizeof(C)>(v);
#pragma GCC unroll 16
  for (int i = 0; i < pairs; ++i) {
    if constexpr (to_block) {
      store_bytes(block + i / 2 * plane + i % 2 * row, kLaneBytes, v[i]);
    } else if (i < count) {
      store_bytes(columns + i * stride, kLaneBytes, v[i]);
    }
  }
}

template <bool to_block, class C, class Columns>
REFINEDET_HD void move_block(Columns* columns, int64_t stride, const PlaneBlock<C>& block) {
  constexpr int64_t step = kInRegisters<C> ? kPairs<C> : 1;
  const int64_t whole = kInRegisters<C> ? block.channels / (step / 2) * (step / 2) : 0;
  const int64_t row = 2 * block.pixels;
  for (int64_t y = 0; y < block.lines; ++y) {
    for (int64_t next = 0; next < block.pixels; next += step) {
      // the last step of several takes some pixels once more, since it may not spoil what is behind them
      const int64_t x = min2(next, max2<int64_t>(0, block.pixels - step)), count = min2(step, block.pixels - x);
      auto* from = columns + (y * block.pixels + x) * stride;
      C* to = block.data + 2 * y * row + 2 * x;
      if constexpr (kInRegisters<C>) {
        for (int64_t c = 0; c < whole; c += step / 2) {
          move_registers<to_block>(from + 4 * c, stride, to + c * block.plane, block.plane, row, count);
        }
      }
      for (int64_t c = whole; c < block.channels; ++c) {
        for (int64_t i = 0; i < count; ++i) {
          for (int ky = 0; ky < 2; ++ky) {
            move_pair<to_block>(from + i * stride + 4 * c + 2 * ky, to + c * block.plane + ky * row + 2 * i);
          }
        }
      }
    }
  }
}

// ---------------------------------------------------------------- between the maps and a run of columns

// out = columns + bias + lateral, then ReLU.
template <class T, class Column>
struct Scatter {
  using C = Column;
  using W = Accumulate<T>;
  using Split = W;  // bfloat16 is faster taken apart as float32
  static constexpr bool reads_columns = true;
  const C* columns;
  const W* bias;
  const T* lateral;
  T* out;
  W low;

  // A run of map elements from `at` on: of n channels, or of n pixels of one channel.
  template <class Run>
  REFINEDET_HD void channels(const Run* run, int64_t at, int64_t first, int64_t n) const {
#pragma GCC ivdep
    for (int64_t i = 0; i < n; ++i) {
      out[at + i] = sum_features<T>(load(run[i]), bias[first + i], lateral[at + i], low);
    }
  }
  REFINEDET_HD void pixels(const C* run, int64_t at, int64_t channel, int64_t n) const {
    const W b = bias[channel];
    int64_t i = 0;
    if constexpr (std::is_same_v<C, BFloat16>) {
      for (; i + kStep<T> <= n; i += kStep<T>) {
        Lanes<float> up[2], side[2], x[2];
        load_step(run + i, kStep<T>, up);
        load_step(lateral + at + i, kStep<T>, side);
        for (int part = 0; part < 2; ++part) {
          x[part] = up[part] + b + side[part];
          x[part] = x[part] < low ? all_lanes(low) : x[part];
        }
        store_step(out + at + i, kStep<T>, x);
      }
    }
#pragma GCC ivdep
    for (; i < n; ++i) {
      out[at + i] = sum_features<T>(load(run[i]), b, lateral[at + i], low);
    }
  }
  REFINEDET_HD void cropped(const void*, int64_t) const {}
};

// The columns' gradient, and the lateral's: that of out where ReLU let it pass.
template <class T, class Column, bool relu>
struct Gather {
  using C = Column;
  using Split = C;
  static constexpr bool reads_columns = false;
  C* columns;
  const T* grad;
  const T* out;
  T* grad_lateral;

  REFINEDET_HD void channels(C* run, int64_t at, int64_t, int64_t n) const {
    int64_t i = 0;
    if constexpr (relu && std::is_same_v<C, BFloat16>) {
      for (; i + kStep<T> <= n; i += kStep<T>) {
        Lanes<float> y[2];
        WordLanes bits;
        load_bytes(grad + at + i, kLaneBytes, bits);
        load_step(out + at + i, kStep<T>, y);
        const WordLanes even = y[0] <= 0 ? WordLanes{} : bits & 0x0000ffffu;
        const WordLanes odd = y[1] <= 0 ? WordLanes{} : bits & 0xffff0000u;
        bits = even | odd;
        store_bytes(grad_lateral + at + i, kLaneBytes, bits);
        store_bytes(run + i, kLaneBytes, bits);
      }
    }
#pragma GCC ivdep
    for (; i < n; ++i) {
      T g = grad[at + i];
      if constexpr (relu) {
        g = relu_gradient(g, out[at + i]);
        grad_lateral[at + i] = g;
      }
      run[i] = convert<C>(g);
    }
  }
  REFINEDET_HD void pixels(C* run, int64_t at, int64_t, int64_t n) const { channels(run, at, 0, n); }
  REFINEDET_HD void cropped(C* run, int64_t n) const {
    for (int64_t i = 0; i < n; ++i) {
      run[i] = C{};
    }
  }
};

// ---------------------------------------------------------------- over a tile

// Channels-last maps, line by line of the input, pixel by pixel.
template <bool taps_inner, class Maps>
void walk_pixels(const DeconvSumTile& tile, const ParallelFor& parallel, const Maps& maps) {
  const int64_t channels = tile.channels, row = tile.out_width * channels;
  parallel(tile.lines, tasks_of(4 * channels * tile.in_width), [=](int64_t begin, int64_t end) {
    typename Maps::Split block[taps_inner ? 4 * kPixelBlock : 1];
    for (int64_t i = begin; i < end; ++i) {
      const int64_t line = tile.first_line + i;
      const int64_t image = line / tile.in_height, y = 2 * (line % tile.in_height);
      for (int64_t x = 0; x < tile.in_width; ++x) {
        const bool right = 2 * x + 1 < tile.out_width, below = y + 1 < tile.out_height;
        const bool inside[4] = {true, right, below, right && below};
        const int64_t pixel = (image * tile.out_height + y) * row + 2 * x * channels;
        const int64_t at[4] = {pixel, pixel + channels, pixel + row, pixel + row + channels};
        auto* columns = maps.columns + (i * tile.in_width + x) * 4 * channels;
        const int64_t step = taps_inner ? kPixelBlock : max2<int64_t>(1, channels);
        for (int64_t c = 0; c < channels; c += step) {
          const int64_t n = min2(step, channels - c);
          if constexpr (taps_inner && Maps::reads_columns) {
            split_taps(columns + 4 * c, block, n);
          }
          for (int k = 0; k < 4; ++k) {
            auto* run = [&] {
              if constexpr (taps_inner) {
                return block + k * n;
              } else {
                return columns + k * channels;
              }
            }();
            if (inside[k]) {
              maps.channels(run, at[k] + c, c, n);
            } else if constexpr (!Maps::reads_columns) {
              maps.cropped(run, n);
            }
          }
          if constexpr (taps_inner && !Maps::reads_columns) {
            join_taps(block, columns + 4 * c, n);
          }
        }
      }
    }
  });
}

// Contiguous maps, some planes of an image at a time, some lines of the input or a part of one.
template <class Maps>
void walk_planes(const DeconvSumTile& tile, const ParallelFor& parallel, const Maps& maps) {
  using C = typename Maps::C;
  constexpr int64_t planes = kPlanes<C>, plane = 4 * kPlanePixels + kPlaneRoom<C>;
  const int64_t height = tile.in_height, width = tile.in_width, channels = tile.channels;
  const int64_t first_image = tile.first_line / height, last_image = (tile.first_line + tile.lines - 1) / height;
  const int64_t groups = divide_up(channels, planes);
  const int64_t line_step = max2<int64_t>(1, kPlanePixels / width), pixel_step = min2(width, kPlanePixels);
  const bool whole = 2 * width == tile.out_width && pixel_step == width;  // a block's lines lie end to end in the maps
  const int64_t work = 4 * planes * width * divide_up(tile.lines, last_image - first_image + 1);
  parallel((last_image - first_image + 1) * groups, tasks_of(work), [=](int64_t begin, int64_t end) {
    C block[planes * plane];
    for (int64_t i = begin; i < end; ++i) {
      const int64_t image = first_image + i / groups;
      const int64_t first = i % groups * planes, count = min2(planes, channels - first);
      const int64_t bottom = min2(tile.first_line + tile.lines - image * height, height);
      int64_t lines = 0;
      for (int64_t y = max2(tile.first_line - image * height, int64_t{0}); y < bottom; y += lines) {
        lines = min2(line_step, bottom - y);
        for (int64_t x = 0; x < width; x += pixel_step) {
          const int64_t n = min2(pixel_step, width - x);
          const int64_t column = ((image * height + y - tile.first_line) * width + x) * channels + first;
          auto* columns = maps.columns + 4 * column;
          if constexpr (Maps::reads_columns) {
            move_block<true>(columns, 4 * channels, PlaneBlock<C>{block, plane, lines, n, count});
          }
          for (int64_t c = 0; c < count; ++c) {
            C* run = block + c * plane;
            const int64_t rows = min2(2 * lines, tile.out_height - 2 * y);
            const int64_t inside = min2(2 * n, tile.out_width - 2 * x);
            int64_t at = ((image * channels + first + c) * tile.out_height + 2 * y) * tile.out_width + 2 * x;
            if (whole) {
              maps.pixels(run, at, first + c, rows * inside);
            }
            for (int64_t row = whole ? rows : 0; row < 2 * lines; ++row) {
              const int64_t valid = row < rows ? inside : 0;
              maps.pixels(run + row * 2 * n, at + row * tile.out_width, first + c, valid);
              maps.cropped(run + row * 2 * n + valid, 2 * n - valid);
            }
          }
          if constexpr (!Maps::reads_columns) {
            move_block<false>(columns, 4 * channels, PlaneBlock<C>{block, plane, lines, n, count});
          }
        }
      }
    }
  });
}

template <class Maps>
void walk(const DeconvSumTile& tile, const ParallelFor& parallel, const Maps& maps) {
  if (tile.lines * tile.in_width * tile.channels == 0) {
    return;
  }
  if (!tile.channels_last) {
    walk_planes(tile, parallel, maps);
  } else if (tile.taps_inner) {
    walk_pixels<true>(tile, parallel, maps);
  } else {
    walk_pixels<false>(tile, parallel, maps);
  }
}

}  // namespace
}  // namespace refinedet::cpu::REFINEDET_CPU_LEVEL

namespace refinedet::cpu {

using namespace REFINEDET_CPU_LEVEL;

template <>
void kernel<kLevel>(const DeconvScatterArgs& args, const ParallelFor& parallel) {
  dispatch_tile(args.tile, [&]<class T, class C>(Tag<T>, Tag<C>) {
    using W = Accumulate<T>;
    Buffer<W> bias(args.tile.channels);
    for (int64_t c = 0; c < args.tile.channels; ++c) {
      bias[c] = args.bias == nullptr ? W(0) : load(static_cast<const T*>(args.bias)[c]);
    }
    walk(args.tile, parallel,
         Scatter<T, C>{static_cast<const C*>(args.columns), bias.data(), static_cast<const T*>(args.lateral),
                       static_cast<T*>(args.out), lowest_feature<T>(args.relu)});
  });
}

template <>
void kernel<kLevel>(const DeconvGatherArgs& args, const ParallelFor& parallel) {
  dispatch_tile(args.tile, [&]<class T, class C>(Tag<T>, Tag<C>) {
    C* columns = static_cast<C*>(args.columns);
    const T *grad = static_cast<const T*>(args.grad), *out = static_cast<const T*>(args.out);
    if (out == nullptr) {
      walk(args.tile, parallel, Gather<T, C, false>{columns, grad, nullptr, nullptr});
    } else {
      walk(args.tile, parallel, Gather<T, C, true>{columns, grad, out, static_cast<T*>(args.grad_lateral)});
    }
  });
}

template <>
void kernel<kLevel>(const DeconvColumnSumArgs& args, const ParallelFor& parallel) {
  dispatch_floating(args.columns_dtype, [&]<class T>(Tag<T>) {
    const T* columns = static_cast<const T*>(args.columns);
    const int64_t pixels = args.pixels, count = args.count;
    double* sums = args.sums;
    parallel(count, tasks_of(pixels), [=](int64_t begin, int64_t end) {
      Accumulate<T> sum[kSumColumns];
      for (int64_t j = begin; j < end; j += kSumColumns) {
        const int64_t n = min2(kSumColumns, end - j);
        for (int64_t p = 0; p < pixels; p += kSumRows) {
          for (int64_t i = 0; i < n; ++i) {
            sum[i] = 0;
          }
          for (const T *row = columns + p * count + j, *last = row + min2(kSumRows, pixels - p) * count; row < last;
               row += count) {
            for (int64_t i = 0; i < n; ++i) {
              sum[i] += load(row[i]);
            }
          }
          for (int64_t i = 0; i < n; ++i) {
            sums[j + i] += sum[i];
          }
        }
      }
    });
  });
}

}  // namespace refinedet::cpu
