// The way back from the columns' gradient: to offsets, centers and masks by the four corners' products with it, to the
// input by adding it to the corners.
#include "cpu/runtime/level.h"
#include "deform_sampling.h"

namespace refinedet::cpu::REFINEDET_CPU_LEVEL {
namespace {

template <class W>
struct SampleGrads {
  W* offset;
  W* center;
  W* mask;
};

template <class W>
REFINEDET_HD void add_sample_grads(const SampleGrads<W>& grads, const DeformSample<W>& s, const W* dot, int64_t group,
                                   int64_t tap, int64_t pixels, int64_t pixel) {
  if (reads_nothing(s)) {
    return;
  }
  const SampleGradient<W> grad = gradient_of(s, dot);
  if (grads.mask != nullptr) {
    grads.mask[tap * pixels + pixel] += grad.mask;
  }
  if (grads.offset != nullptr) {
    grads.offset[2 * tap * pixels + pixel] += grad.y;
    grads.offset[(2 * tap + 1) * pixels + pixel] += grad.x;
  }
  if (grads.center != nullptr) {
    grads.center[2 * group * pixels + pixel] += grad.y;
    grads.center[(2 * group + 1) * pixels + pixel] += grad.x;
  }
}

// Adds a run's products to `sums`; with Replace the columns take the place of their gradient.
template <bool Replace, class T>
REFINEDET_HD void multiply_run(const Corners<T>& at, const DeformSample<Accumulate<T>>& s, T* columns, int64_t channels,
                               Lanes<Accumulate<T>> (&sums)[4][kParts<T>]) {
  using W = Accumulate<T>;
  const CornerWeights<W> weights = weights_of(s);
  for_steps<kStep<T>>(channels, [&](int64_t c, int64_t count) REFINEDET_INLINE_LAMBDA {
    Lanes<W> grad[kParts<T>], v[4][kParts<T>];
    load_step(columns + c, count, grad);
    for (int i = 0; i < 4; ++i) {
      load_step(at.p[i] + c, count, v[i]);
      for (int part = 0; part < kParts<T>; ++part) {
        sums[i][part] = multiply_add<W>(grad[part], v[i][part], sums[i][part]);
      }
    }
    if constexpr (Replace) {
      store_blend<true>(columns + c, count, v, weights, s.mask);
    }
  });
}

template <class T>
REFINEDET_HD Accumulate<T> total(const Lanes<Accumulate<T>> (&sums)[kParts<T>]) {
  Lanes<Accumulate<T>> sum = sums[0];
  for (int part = 1; part < kParts<T>; ++part) {
    sum += sums[part];
  }
  return sum_lanes<Accumulate<T>>(sum);
}

template <bool Replace, class T>
REFINEDET_HD void grad_samples(const DeformGradSamplesArgs& args, const ParallelFor& parallel) {
  using W = Accumulate<T>;
  const DeformTile& tile = args.tile;
  const SampleGrads<W> grads{static_cast<W*>(args.grad_offset), static_cast<W*>(args.grad_center),
                             static_cast<W*>(args.grad_mask)};
  const T* zeros = static_cast<const T*>(tile.zeros);
  parallel(tile.range.count, pixel_grain(tile), [&](int64_t begin, int64_t end) {
    for (int64_t p = begin; p < end; ++p) {
      const int64_t image = (tile.range.begin + p) / tile.out_pixels, pixel = (tile.range.begin + p) % tile.out_pixels;
      const T* source = static_cast<const T*>(tile.source) + (image - tile.first_image) * tile.image_stride;
      for (int64_t k = 0; k < tile.taps; ++k) {
        const DeformSample<W>* samples =
            static_cast<const DeformSample<W>*>(tile.samples) + (p * tile.taps + k) * tile.offset_groups;
        T* columns = static_cast<T*>(tile.columns) + p * tile.row_stride + k * tile.tap_stride;
        for (int64_t r = 0; r < tile.run_count;) {
          const int64_t o = tile.runs[r].offset_group;
          const DeformSample<W>& s = samples[o];
          Lanes<W> sums[4][kParts<T>] = {};
          for (; r < tile.run_count && tile.runs[r].offset_group == o; ++r) {
            const ChannelRun& run = tile.runs[r];
            multiply_run<Replace>(corners_of(s, source, tile.pixel_stride, run.channel, zeros), s, columns + run.column,
                                  run.count, sums);
          }
          const W dot[4] = {total<T>(sums[0]), total<T>(sums[1]), total<T>(sums[2]), total<T>(sums[3])};
          const int64_t group = image * tile.offset_groups + o;
          add_sample_grads(grads, s, dot, group, group * tile.taps + k, tile.out_pixels, pixel);
        }
      }
    }
  });
}

// to[i] += weight[i] * from for N pixels, none of them twice.
template <int N, class T>
REFINEDET_HD void add_scaled(const T* from, const Accumulate<T>* weight, int64_t channels, Accumulate<T>* const* to) {
  using W = Accumulate<T>;
  for_steps<kStep<W>>(channels, [&](int64_t c, int64_t count) REFINEDET_INLINE_LAMBDA {
    Lanes<W> grad, sum[N];
    load_channels(from + c, count, grad);
    for (int i = 0; i < N; ++i) {
      load_channels(to[i] + c, count, sum[i]);
      store_bytes(to[i] + c, count * static_cast<int64_t>(sizeof(W)),
                  multiply_add<W>(grad, all_lanes(weight[i]), sum[i]));
    }
  });
}

// Adds `channels` columns' gradients to the corners of their sample, of which `image` is the first channel of pixel 0.
template <class T>
REFINEDET_HD void add_to_corners(const T* from, const DeformSample<Accumulate<T>>& s, int64_t channels,
                                 Accumulate<T>* image, int64_t pixel_stride) {
  const CornerWeights<Accumulate<T>> weights = weights_of(s);
  Accumulate<T>* to[4];
  Accumulate<T> weight[4];
  int corners = 0;
  for (int i = 0; i < 4; ++i) {
    if (s.corner[i] >= 0) {
      to[corners] = image + s.corner[i] * pixel_stride;
      weight[corners] = weights.w[i] * s.mask;
      ++corners;
    }
  }
  if (corners == 4) {
    add_scaled<4>(from, weight, channels, to);  // one reading for all
  } else {
    for (int i = 0; i < corners; ++i) {
      add_scaled<1>(from, weight + i, channels, to + i);
    }
  }
}

}  // namespace
}  // namespace refinedet::cpu::REFINEDET_CPU_LEVEL

namespace refinedet::cpu {

using namespace REFINEDET_CPU_LEVEL;

template <>
void kernel<kLevel>(const DeformGradSamplesArgs& args, const ParallelFor& parallel) {
  dispatch_tile(args.tile.dtype, [&]<class T>(Tag<T>) {
    return args.replace ? grad_samples<true, T>(args, parallel) : grad_samples<false, T>(args, parallel);
  });
}

// Pixels of the input belong to many samples: each task owns channels of an image instead, and goes through the
// samples in their order. So the sums have one order however many threads there are.
template <>
void kernel<kLevel>(const DeformGradSourceArgs& args, const ParallelFor& parallel) {
  constexpr int64_t kUnit = 16;  // channels: no two tasks share a cache line
  const DeformTile& tile = args.tile;
  const int64_t units = (tile.channels + kUnit - 1) / kUnit;
  const int64_t last_image = (tile.range.begin + tile.range.count - 1) / tile.out_pixels;
  const int64_t images = last_image + 1 - tile.range.begin / tile.out_pixels;
  dispatch_tile(tile.dtype, [&]<class T>(Tag<T>) {
    using W = Accumulate<T>;
    const auto add_image = [&](int64_t image, int64_t low, int64_t high) {
      W* grad = static_cast<W*>(args.grad_source) + (image - tile.first_image) * args.image_stride;
      const int64_t begin = max2<int64_t>(0, image * tile.out_pixels - tile.range.begin);
      const int64_t end = min2(tile.range.count, (image + 1) * tile.out_pixels - tile.range.begin);
      for (int64_t p = begin; p < end; ++p) {
        for (int64_t k = 0; k < tile.taps; ++k) {
          const DeformSample<W>* samples =
              static_cast<const DeformSample<W>*>(tile.samples) + (p * tile.taps + k) * tile.offset_groups;
          const T* columns = static_cast<const T*>(tile.columns) + p * tile.row_stride + k * tile.tap_stride;
          for (int64_t r = 0; r < tile.run_count; ++r) {
            const ChannelRun& run = tile.runs[r];
            const int64_t first = max2(low, run.channel), last = min2(high, run.channel + run.count);
            if (first >= last) {
              continue;
            }
            add_to_corners(columns + run.column + (first - run.channel), samples[run.offset_group], last - first,
                           grad + first, args.pixel_stride);
          }
        }
      }
    };
    parallel(images * units, 1, [&](int64_t begin, int64_t end) {
      while (begin < end) {
        const int64_t image = begin / units, unit = begin % units;
        const int64_t count = min2(end - begin, units - unit);
        add_image(tile.range.begin / tile.out_pixels + image, unit * kUnit,
                  min2(tile.channels, (unit + count) * kUnit));
        begin += count;
      }
    });
  });
}

}  // namespace refinedet::cpu
