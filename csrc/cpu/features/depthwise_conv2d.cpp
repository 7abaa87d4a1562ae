// Both gradients are sums over a window of rows, of one operand times a few numbers of the other: near the time that
// their maps take from memory, if nothing but the sums is left in the inner loops. So the rows of a window are first
// copied, as blocks of a register's channels, in the accumulate type, with zeros around: neither layout, nor element
// type, nor edges are looked at after that. The copies stay in the cache and are used once for every tap.
//
// A strip of rows of an image is a task. Strips follow from the shape alone, and their parts of the weight's gradient
// are added in their order: the result does not depend on the number of threads.
#include "ops/depthwise_conv2d.h"

#include "channel_steps.h"
#include "cpu/runtime/buffer.h"

namespace refinedet::cpu::REFINEDET_CPU_LEVEL {
namespace {

constexpr int64_t kRun = 16;                      // pixels of a block that are copied before the next block's
constexpr int64_t kStripWork = int64_t{4} << 20;  // multiplications: a few hundred microseconds

// The channels in blocks of a register. The last of several starts early where the channels end within it: a few sums
// made twice cost less than parts of registers. One block alone may be a part.
template <class W>
struct Blocks {
  static constexpr int64_t lanes = kLanes<W>;

  explicit Blocks(int64_t channels) : channels(channels), count(divide_up(channels, lanes)) {}

  int64_t first(int64_t block) const { return min2(block * lanes, max2<int64_t>(0, channels - lanes)); }
  int64_t size() const { return min2(lanes, channels); }

  int64_t channels, count;
};

// Rows of a map as blocks (slot, block, cell, lane), a row in the slot of its number: enough slots for those that are
// in use at a time.
template <class W>
struct Window {
  int64_t slots, blocks, cells;

  int64_t block_size() const { return cells * kLanes<W>; }
  int64_t size() const { return slots * blocks * block_size(); }
  W* row(W* memory, int64_t row) const { return memory + row % slots * blocks * block_size(); }
};

template <class T>
struct Backward {
  using W = Accumulate<T>;
  static constexpr int64_t lanes = kLanes<W>;

  explicit Backward(const DepthwiseConv2dBackwardArgs& args)
      : a(args), blocks(args.channels), taps(args.kernel * args.kernel), reach(divide_up(args.kernel, args.stride)) {
    const int64_t work = a.out_height * a.out_width * a.channels * taps;
    strips = max2<int64_t>(1, min2(a.out_height, divide_up(work, kStripWork)));
    // the input's last column is read by this output column, if there is one
    const int64_t last = (a.width - 1 + a.pad_left) / a.stride;
    grads = {reach, blocks.count, reach - 1 + max2(a.out_width, last + 1)};
    inputs = {a.kernel, blocks.count, (a.out_width - 1) * a.stride + a.kernel};
    line = {1, blocks.count, a.out_width};
  }

  // Elements of a task's memory.
  int64_t scratch() const { return max2(grads.size(), inputs.size() + line.size()); }
  int64_t weight_size() const { return blocks.count * taps * lanes; }

  // A pixel row as a row of a window, from cell `left` on, with zeros in the other cells.
  template <bool whole>
  void pack(const T* from, int64_t pixels, int64_t left, const Window<W>& window, W* to) const {
    const int64_t count = whole ? lanes : blocks.size();
    const Lanes<W> zeros{};
    for (int64_t b = 0; b < blocks.count; ++b) {
      W* const cells = to + b * window.block_size();
      for (int64_t cell = 0; cell < left; ++cell) {
        store_lanes(cells + cell * lanes, zeros);
      }
      for (int64_t cell = left + pixels; cell < window.cells; ++cell) {
        store_lanes(cells + cell * lanes, zeros);
      }
    }
    const int64_t channels = a.channels, all = blocks.count;
    for (int64_t x = 0; x < pixels; x += kRun) {
      const int64_t run = min2(kRun, pixels - x);
      for (int64_t b = 0; b < all; ++b) {
        const T* read = from + x * channels + blocks.first(b);
        W* const write = to + b * window.block_size() + (left + x) * lanes;
        for (int64_t i = 0; i < run; ++i) {
          __builtin_prefetch(read + (i + kRun) * channels);
          Lanes<W> v;
          load_channels(read + i * channels, count, v);
          store_lanes(write + i * lanes, v);
        }
      }
    }
  }

  void pack_row(const T* from, int64_t pixels, int64_t left, const Window<W>& window, W* to) const {
    if (blocks.size() == lanes) {
      pack<true>(from, pixels, left, window, to);
    } else {
      pack<false>(from, pixels, left, window, to);
    }
  }

  // The weight as (block, tap, lane).
  void pack_weight(W* to) const {
    const T* from = static_cast<const T*>(a.weight);
    for (int64_t b = 0; b < blocks.count; ++b) {
      for (int64_t t = 0; t < taps; ++t) {
        for (int64_t i = 0; i < lanes; ++i) {
          to[(b * taps + t) * lanes + i] = i < blocks.size() ? load(from[(blocks.first(b) + i) * taps + t]) : W(0);
        }
      }
    }
  }

  // Some rows' part of what an input pixel's gradient sums: lines of the gradient, and the taps they are multiplied
  // with. Line i of them lies at lines[i], its taps at weight + i * stride rows of the kernel.
  struct Rows {
    const W* const* lines;
    int64_t count;
    const W* weight;
  };

  // The gradients of N input pixels, a stride apart, of a block. `cell`: where in the lines the first finds the output
  // pixel of its first tap; the other taps' lie to the left.
  template <int64_t N>
  void sum_pixels(const Rows& rows, int64_t cell, int64_t columns, T* to, int64_t count) const {
    Lanes<W> sums[N]{};
    const int64_t tap_step = a.stride * lanes, row_step = tap_step * a.kernel, pixel_step = a.stride * a.channels;
    for (int64_t r = 0; r < rows.count; ++r) {
      const W* from = rows.lines[r] + cell * lanes;
      const W* weight = rows.weight + r * row_step;
      for (int64_t i = 0; i < columns; ++i, from -= lanes, weight += tap_step) {
        const Lanes<W> w = load_lanes(weight);
#pragma GCC unroll 8
        for (int64_t n = 0; n < N; ++n) {
          sums[n] = multiply_add<W>(load_lanes(from + n * lanes), w, sums[n]);
        }
      }
    }
#pragma GCC unroll 8
    for (int64_t n = 0; n < N; ++n) {
      store_channels(to + n * pixel_step, count, sums[n]);
    }
  }

  // The gradients of a row of input pixels, of a block. Those in the same position to the stride have the same taps.
  template <bool whole>
  void sum_row(const Rows& rows, T* to) const {
    const int64_t count = whole ? lanes : blocks.size();
    for (int64_t tap = 0; tap < a.stride; ++tap) {
      const int64_t x = ((tap - a.pad_left) % a.stride + a.stride) % a.stride;
      const int64_t pixels = divide_up(a.width - x, a.stride), columns = divide_up(a.kernel - tap, a.stride);
      const Rows of_tap{rows.lines, rows.count, rows.weight + tap * lanes};
      const int64_t cell = reach - 1 + (x + a.pad_left - tap) / a.stride;
      T* const first = to + x * a.channels;
      const int64_t step = a.stride * a.channels;
      int64_t n = 0;
      for (; n + 8 <= pixels; n += 8) {
        sum_pixels<8>(of_tap, cell + n, columns, first + n * step, count);
      }
      for (; n + 4 <= pixels; n += 4) {
        sum_pixels<4>(of_tap, cell + n, columns, first + n * step, count);
      }
      for (; n < pixels; ++n) {
        sum_pixels<1>(of_tap, cell + n, columns, first + n * step, count);
      }
    }
  }

  // The input's gradient, some of its rows.
  void input_rows(int64_t image, int64_t begin, int64_t end, const W* weight, W* memory, const W** lines) const {
    const T* grad = static_cast<const T*>(a.grad) + image * a.out_height * a.out_width * a.channels;
    T* const out = static_cast<T*>(a.grad_input) + image * a.height * a.width * a.channels;
    int64_t next = 0;  // row of `grad` to pack
    for (int64_t y = begin; y < end; ++y) {
      // the taps that fit are `tap` and every stride'th after it; they read row `last` of `grad`, and those before
      const int64_t last = (y + a.pad_top) / a.stride, tap = (y + a.pad_top) % a.stride;
      const int64_t first_tap = max2<int64_t>(0, last - (a.out_height - 1));
      const int64_t end_tap = min2(divide_up(a.kernel - tap, a.stride), last + 1);
      for (next = max2(next, last - end_tap + 1); next <= last - first_tap; ++next) {
        pack_row(grad + next * a.out_width * a.channels, a.out_width, reach - 1, grads, grads.row(memory, next));
      }
      for (int64_t b = 0; b < blocks.count; ++b) {
        for (int64_t i = first_tap; i < end_tap; ++i) {
          lines[i - first_tap] = grads.row(memory, last - i) + b * grads.block_size();
        }
        const Rows rows{lines, max2<int64_t>(0, end_tap - first_tap),
                        weight + (b * taps + (tap + first_tap * a.stride) * a.kernel) * lanes};
        T* const to = out + y * a.width * a.channels + blocks.first(b);
        if (blocks.size() == lanes) {
          sum_row<true>(rows, to);
        } else {
          sum_row<false>(rows, to);
        }
      }
    }
  }

  // sums[n] += a row of `grad` times the inputs that tap n reads, from[n] on.
  template <int64_t N>
  void add_taps(const W* grad, const W* const* from, int64_t offset, W* sums) const {
    const W* read[N];
    Lanes<W> row[N]{};
    for (int64_t n = 0; n < N; ++n) {
      read[n] = from[n] + offset;
    }
    const int64_t step = a.stride * lanes, width = a.out_width;
    for (int64_t x = 0; x < width; ++x) {
      const Lanes<W> g = load_lanes(grad + x * lanes);
#pragma GCC unroll 9
      for (int64_t n = 0; n < N; ++n) {
        row[n] = multiply_add<W>(load_lanes(read[n] + x * step), g, row[n]);
      }
    }
    for (int64_t n = 0; n < N; ++n) {
      store_lanes(sums + n * lanes, load_lanes(sums + n * lanes) + row[n]);
    }
  }

  // The same for `count` taps, as many at a time as leave their sums in registers.
  template <int64_t N = 9>
  void add_taps(const W* grad, const W* const* from, int64_t count, int64_t offset, W* sums) const {
    for (; count >= N; count -= N, from += N, sums += N * lanes) {
      add_taps<N>(grad, from, offset, sums);
    }
    if constexpr (N > 1) {
      add_taps<N - 1>(grad, from, count, offset, sums);
    }
  }

  // The weight's gradient, the part of some rows of the output.
  void weight_rows(int64_t image, int64_t begin, int64_t end, W* sums, W* memory, const W** reads) const {
    const T* grad = static_cast<const T*>(a.grad) + image * a.out_height * a.out_width * a.channels;
    const T* input = static_cast<const T*>(a.input) + image * a.height * a.width * a.channels;
    W* const line_memory = memory + inputs.size();
    const int64_t pixels = max2<int64_t>(0, min2(a.width, inputs.cells - a.pad_left));
    const int64_t left = min2(a.pad_left, inputs.cells);
    for (int64_t i = 0; i < weight_size(); ++i) {
      sums[i] = 0;
    }
    int64_t next = 0;  // row of the input to pack
    for (int64_t y = begin; y < end; ++y) {
      const int64_t top = y * a.stride - a.pad_top;
      const int64_t first = max2<int64_t>(0, top), last = min2(a.height, top + a.kernel) - 1;
      for (next = max2(next, first); next <= last; ++next) {
        pack_row(input + next * a.width * a.channels, pixels, left, inputs, inputs.row(memory, next));
      }
      pack_row(grad + y * a.out_width * a.channels, a.out_width, 0, line, line_memory);
      int64_t count = 0;
      for (int64_t row = first; row <= last; ++row) {
        for (int64_t tap = 0; tap < a.kernel; ++tap) {
          reads[count++] = inputs.row(memory, row) + tap * lanes;
        }
      }
      for (int64_t b = 0; b < blocks.count; ++b) {
        add_taps(line_memory + b * line.block_size(), reads, count, b * inputs.block_size(),
                 sums + (b * taps + (first - top) * a.kernel) * lanes);
      }
    }
  }

  // The weight's gradient from the strips' parts, of a block.
  void sum_strips(W* sums, int64_t parts, int64_t block) const {
    const int64_t size = taps * lanes;
    W* const total = sums + block * size;
    for (int64_t p = 1; p < parts; ++p) {
      const W* part = total + p * weight_size();
      for (int64_t i = 0; i < size; ++i) {
        total[i] += part[i];
      }
    }
    T* const out = static_cast<T*>(a.grad_weight);
    const int64_t first = blocks.first(block);
    for (int64_t c = block * lanes; c < first + blocks.size(); ++c) {  // what the block before has is its
      for (int64_t t = 0; t < taps; ++t) {
        out[c * taps + t] = round_to<T>(total[t * lanes + c - first]);
      }
    }
  }

  void run(const ParallelFor& parallel) const {
    const bool for_input = a.grad_input != nullptr, for_weight = a.grad_weight != nullptr;
    const int64_t tasks = a.batch * strips, shares = min2(parallel.threads(), tasks);
    Buffer<W> weight(for_input ? weight_size() : 0), sums(for_weight ? tasks * weight_size() : 0);
    Buffer<W> memory(shares * scratch());
    Buffer<const W*> pointers(shares * taps);
    if (for_input) {
      pack_weight(weight.data());
    }
    parallel(shares, 1, [&](int64_t begin, int64_t end) {
      for (int64_t task = begin * tasks / shares; task < end * tasks / shares; ++task) {
        const int64_t image = task / strips, strip = task % strips;
        W* const own = memory.data() + begin * scratch();
        const W** own_pointers = pointers.data() + begin * taps;
        if (for_input) {
          input_rows(image, strip * a.height / strips, (strip + 1) * a.height / strips, weight.data(), own,
                     own_pointers);
        }
        if (for_weight) {
          weight_rows(image, strip * a.out_height / strips, (strip + 1) * a.out_height / strips,
                      sums.data() + task * weight_size(), own, own_pointers);
        }
      }
    });
    if (for_weight) {
      parallel(blocks.count, 1, [&](int64_t begin, int64_t end) {
        for (int64_t b = begin; b < end; ++b) {
          sum_strips(sums.data(), tasks, b);
        }
      });
    }
  }

  const DepthwiseConv2dBackwardArgs& a;
  Blocks<W> blocks;
  int64_t taps, reach, strips;  // reach: kernel rows or columns that read the same pixel
  Window<W> grads, inputs, line;
};

}  // namespace
}  // namespace refinedet::cpu::REFINEDET_CPU_LEVEL

namespace refinedet::cpu {

using namespace REFINEDET_CPU_LEVEL;

template <>
void kernel<kLevel>(const DepthwiseConv2dBackwardArgs& args, const ParallelFor& parallel) {
  dispatch_floating(args.dtype, [&]<class T>(Tag<T>) { Backward<T>(args).run(parallel); });
}

}  // namespace refinedet::cpu
