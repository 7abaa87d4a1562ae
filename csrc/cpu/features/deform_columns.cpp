// Where the taps of a tile read, and the columns that they read there.
#include "cpu/runtime/level.h"
#include "deform_sampling.h"

namespace refinedet::cpu::REFINEDET_CPU_LEVEL {
namespace {

constexpr int64_t kRun = 64;  // output pixels whose samples are made together

template <class W>
REFINEDET_HD void load_run(const DeformMap& map, int64_t begin, int64_t count, W missing, W* out) {
  if (map.data == nullptr) {
    for (int64_t i = 0; i < count; ++i) {
      out[i] = missing;
    }
    return;
  }
  dispatch_floating(map.dtype, [&]<class T>(Tag<T>) {
    const T* p = static_cast<const T*>(map.data) + begin;
    for (int64_t i = 0; i < count; ++i) {
      out[i] = static_cast<W>(load(p[i]));
    }
  });
}

// Samples of `count` <= kRun pixels of one image, from its pixel `pixel` on.
template <class W>
REFINEDET_HD void samples_of_run(const DeformSamplesArgs& args, int64_t image, int64_t pixel, int64_t count,
                                 DeformSample<W>* samples) {
  const DeformGeometry& g = args.geometry;
  const int64_t taps = g.taps(), pixels = g.out_pixels();
  W base_y[kRun], base_x[kRun], dy[kRun], dx[kRun], cy[kRun], cx[kRun], mask[kRun];
  for (int64_t i = 0; i < count; ++i) {
    base_y[i] = static_cast<W>((pixel + i) / g.out_width * g.stride_y - g.pad_y);
    base_x[i] = static_cast<W>((pixel + i) % g.out_width * g.stride_x - g.pad_x);
  }
  for (int64_t o = 0; o < g.offset_groups; ++o) {
    const int64_t group = image * g.offset_groups + o;
    load_run(args.center, 2 * group * pixels + pixel, count, W(0), cy);
    load_run(args.center, (2 * group + 1) * pixels + pixel, count, W(0), cx);
    for (int64_t k = 0; k < taps; ++k) {
      const int64_t tap = group * taps + k;
      load_run(args.offset, 2 * tap * pixels + pixel, count, W(0), dy);
      load_run(args.offset, (2 * tap + 1) * pixels + pixel, count, W(0), dx);
      load_run(args.mask, tap * pixels + pixel, count, W(1), mask);
      const W tap_y = static_cast<W>(k / g.kernel_w * g.dilation_y);
      const W tap_x = static_cast<W>(k % g.kernel_w * g.dilation_x);
      for (int64_t i = 0; i < count; ++i) {
        samples[(i * taps + k) * g.offset_groups + o] =
            sample_at(deform_position(base_y[i], tap_y, dy[i], cy[i]), deform_position(base_x[i], tap_x, dx[i], cx[i]),
                      mask[i], g.height, g.width);
      }
    }
  }
}

template <class W>
REFINEDET_HD void make_samples(const DeformSamplesArgs& args, const ParallelFor& parallel) {
  const int64_t pixels = args.geometry.out_pixels();
  const int64_t per_pixel = args.geometry.taps() * args.geometry.offset_groups;
  DeformSample<W>* samples = static_cast<DeformSample<W>*>(args.samples);
  parallel(args.range.count, max2<int64_t>(kRun, 2048 / per_pixel), [=, &args](int64_t begin, int64_t end) {
    while (begin < end) {
      const int64_t image = (args.range.begin + begin) / pixels, pixel = (args.range.begin + begin) % pixels;
      const int64_t count = min2(min2(kRun, pixels - pixel), end - begin);
      samples_of_run(args, image, pixel, count, samples + begin * per_pixel);
      begin += count;
    }
  });
}

template <class S, class T>
REFINEDET_HD void make_columns(const DeformTile& tile, const ParallelFor& parallel) {
  using W = Accumulate<T>;
  const S* zeros = static_cast<const S*>(tile.zeros);
  parallel(tile.range.count, pixel_grain(tile), [&](int64_t begin, int64_t end) {
    for (int64_t p = begin; p < end; ++p) {
      const int64_t image = (tile.range.begin + p) / tile.out_pixels - tile.first_image;
      const S* source = static_cast<const S*>(tile.source) + image * tile.image_stride;
      for (int64_t k = 0; k < tile.taps; ++k) {
        const DeformSample<W>* samples =
            static_cast<const DeformSample<W>*>(tile.samples) + (p * tile.taps + k) * tile.offset_groups;
        T* columns = static_cast<T*>(tile.columns) + p * tile.row_stride + k * tile.tap_stride;
        for (int64_t r = 0; r < tile.run_count; ++r) {
          const ChannelRun& run = tile.runs[r];
          const DeformSample<W>& s = samples[run.offset_group];
          const Corners<S> at = corners_of(s, source, tile.pixel_stride, run.channel, zeros);
          const CornerWeights<W> weights = weights_of(s);
          T* out = columns + run.column;
          const auto blend = [&]<bool masked>(std::bool_constant<masked>) REFINEDET_INLINE_LAMBDA {
            for_steps<kStep<T>>(run.count, [&](int64_t c, int64_t count) REFINEDET_INLINE_LAMBDA {
              Lanes<W> v[4][kParts<T>];
              for (int i = 0; i < 4; ++i) {
                if constexpr (std::is_same_v<S, T>) {
                  load_step(at.p[i] + c, count, v[i]);
                } else {
                  load_channels(at.p[i] + c, count, v[i][0]);
                }
              }
              store_blend<masked>(out + c, count, v, weights, s.mask);
            });
          };
          s.mask == W(1) ? blend(std::false_type{}) : blend(std::true_type{});
        }
      }
    }
  });
}

}  // namespace
}  // namespace refinedet::cpu::REFINEDET_CPU_LEVEL

namespace refinedet::cpu {

using namespace REFINEDET_CPU_LEVEL;

template <>
void kernel<kLevel>(const DeformSamplesArgs& args, const ParallelFor& parallel) {
  return args.accumulate == DType::f64 ? make_samples<double>(args, parallel) : make_samples<float>(args, parallel);
}

template <>
void kernel<kLevel>(const DeformColumnsArgs& args, const ParallelFor& parallel) {
  const DeformTile& tile = args.tile;
  if (tile.source_dtype != tile.dtype) {
    return tile.source_dtype == DType::f16 ? make_columns<Half, float>(tile, parallel)
                                           : make_columns<BFloat16, float>(tile, parallel);
  }
  dispatch_tile(tile.dtype, [&]<class T>(Tag<T>) { return make_columns<T, T>(tile, parallel); });
}

}  // namespace refinedet::cpu
