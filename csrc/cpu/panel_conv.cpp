#include "panel_conv.h"

#include "buffer.h"
#include "panel_conv_padding.h"
#include "panel_conv_tile.h"

namespace refinedet::cpu::REFINEDET_CPU_LEVEL {
namespace {

constexpr int64_t kChunkFloats = 96 << 10;  // of the input, that are used for all channels while they are in L2
constexpr int64_t kChunkPositions = 512;    // of a 3x3: its sums stay in L1
constexpr int64_t kLeastWork = 1 << 20;     // multiplications that are worth a second thread

int64_t divide_up(int64_t a, int64_t b) { return (a + b - 1) / b; }

// One image's outputs, cut into units: a chunk of a group's panels or lines, times some of its channels' tiles.
class Work {
 public:
  Work(const PanelConvArgs& a, int64_t threads) : a_(a), rows_(tile_rows(a.out_channels)) {
    tiles_ = divide_up(a.out_channels, rows_);
    pixels_ = a.out_height() * a.out_width();
    steps_ = a.kernel == 1 ? divide_up(pixels_, kPanel) : a.out_height();
    const int64_t most = a.kernel == 1 ? kChunkFloats / (kPanel * a.terms()) : kChunkPositions / (a.out_width() + 1);
    chunks_ = divide_up(steps_, most < 1 ? 1 : most);
    const bool alone = threads == 1 || a.groups * a.out_channels * a.terms() * pixels_ < kLeastWork;
    if (!alone) {
      chunks_ = divide_up(chunks_, threads) * threads;
      chunks_ = chunks_ < steps_ ? chunks_ : steps_;
    }
    // where there are too few of them, the threads share out the channels
    splits_ = alone || a.groups * chunks_ % threads == 0 || tiles_ < threads ? 1 : threads;
    grain_ = alone ? units() : 1;
  }

  int64_t units() const { return a_.groups * chunks_ * splits_; }
  int64_t grain() const { return grain_; }

  void pointwise(int64_t unit, int64_t image) const {
    const Unit u = unit_of(unit);
    const float* x = a_.x.data + image * a_.x.image + u.group * a_.in_channels * kPanel;
    for (int64_t tile = u.tile; tile < u.last_tile; ++tile) {
      const int64_t channel = u.group * a_.out_channels + tile * rows_;
      for (int64_t panel = u.begin; panel < u.end; ++panel) {
        const int64_t vectors = divide_up(pixels_ - panel * kPanel, kFloats);
        const int64_t at = image * a_.out.image + panel * a_.out.panel + channel * kPanel;
        const int64_t shortcut = image * a_.shortcut.image + panel * a_.shortcut.panel + channel * kPanel;
        panel_tile(
            rows_, vectors < kPanelVectors ? vectors : kPanelVectors,
            {weight_of(u.group, tile), x + panel * a_.x.panel, nullptr, kPanel, a_.terms(), rows_of(tile),
             a_.out.data + at, kPanel},
            {a_.bias == nullptr ? nullptr : a_.bias + channel,
             a_.shortcut.data == nullptr ? nullptr : a_.shortcut.data + shortcut, low(a_.relu), low(a_.last_relu)});
      }
    }
  }

  // padded: what PaddedInput wrote of the image.
  void neighbours(int64_t unit, int64_t image, const float* padded, const PaddedInput& input,
                  const int64_t* offsets) const {
    const Unit u = unit_of(unit);
    const int64_t count = (u.end - u.begin) * input.row() - 1, sums_row = divide_up(count, kFloats) * kFloats;
    const float* x = padded + u.group * a_.in_channels * input.channel() + u.begin * input.row();
    Buffer<float> sums(rows_ * sums_row);
    for (int64_t tile = u.tile; tile < u.last_tile; ++tile) {
      for (int64_t p = 0; p < count; p += kPanel) {
        const int64_t vectors = divide_up(count - p, kFloats);
        panel_tile(rows_, vectors < kPanelVectors ? vectors : kPanelVectors,
                   {weight_of(u.group, tile), x + p, offsets, 0, a_.terms(), rows_of(tile), sums.data() + p, sums_row},
                   {nullptr, nullptr, low(false), low(false)});
      }
      for (int64_t r = 0; r < rows_of(tile); ++r) {
        float* row = sums.data() + r * sums_row;
        for (int64_t line = 1; line < u.end - u.begin; ++line) {
          memmove(row + line * a_.out_width(), row + line * input.row(), sizeof(float) * a_.out_width());
        }
        finish(row, image, u.group * a_.out_channels + tile * rows_ + r, u.begin, u.end);
      }
    }
  }

 private:
  struct Unit {
    int64_t group, begin, end;  // panels or lines
    int64_t tile, last_tile;
  };

  Unit unit_of(int64_t unit) const {
    const int64_t split = unit % splits_, chunk = unit / splits_ % chunks_;
    return {unit / splits_ / chunks_, chunk * steps_ / chunks_, (chunk + 1) * steps_ / chunks_,
            split * tiles_ / splits_, (split + 1) * tiles_ / splits_};
  }

  static float low(bool relu) { return relu ? 0.0f : -__builtin_inff(); }
  const float* weight_of(int64_t group, int64_t tile) const {
    return a_.weight + (group * tiles_ + tile) * rows_ * a_.terms();
  }
  int64_t rows_of(int64_t tile) const {
    const int64_t left = a_.out_channels - tile * rows_;
    return left < rows_ ? left : rows_;
  }

  // Bias, ReLU, shortcut, ReLU on the sums of lines [begin, end) of a channel.
  void finish(const float* sums, int64_t image, int64_t channel, int64_t begin, int64_t end) const {
    const float bias = a_.bias == nullptr ? 0.0f : a_.bias[channel];
    const float lowest = low(a_.relu), last_lowest = low(a_.last_relu);
    const int64_t first = begin * a_.out_width(), last = end * a_.out_width();
    float* out = a_.out.data + image * a_.out.image + channel * kPanel;
    each_run(a_.out.panel, first, last, [&](int64_t at, int64_t pixel, int64_t count) {
      for (int64_t i = 0; i < count; ++i) {
        const float y = sums[pixel + i] + bias;
        out[at + i] = lowest > y ? lowest : y;
      }
    });
    if (end == a_.out_height()) {  // the rest of the last panel
      float* rest = out + (pixels_ - 1) / kPanel * a_.out.panel + (pixels_ - 1) % kPanel + 1;
      memset(rest, 0, sizeof(float) * (kPanel - 1 - (pixels_ - 1) % kPanel));
    }
    if (a_.shortcut.data == nullptr) {
      return;
    }
    const float* shortcut = a_.shortcut.data + image * a_.shortcut.image + channel * kPanel;
    const int64_t apart = a_.shortcut.panel - a_.out.panel;
    each_run(a_.out.panel, first, last, [&](int64_t at, int64_t pixel, int64_t count) {
      const float* other = shortcut + at + (first + pixel) / kPanel * apart;
      for (int64_t i = 0; i < count; ++i) {
        const float y = out[at + i] + other[i];
        out[at + i] = last_lowest > y ? last_lowest : y;
      }
    });
  }

  const PanelConvArgs& a_;
  int64_t rows_, tiles_;  // a group's channels are `tiles_` times `rows_`, the last with some over
  int64_t pixels_, steps_, chunks_, splits_, grain_;
};

void convolve_neighbours(const PanelConvArgs& args, const Work& work, const ParallelFor& parallel) {
  const PaddedInput input(args);
  const int64_t channels = args.groups * args.in_channels;
  Buffer<int64_t> offsets(args.terms());
  input.offsets(offsets.data());
  Buffer<float> padded(input.size(channels));
  memset(padded.data() + channels * input.channel(), 0, sizeof(float) * kPanel);
  const int64_t grain = work.grain() == 1 ? divide_up(channels, parallel.threads()) : channels;
  for (int64_t image = 0; image < args.batch; ++image) {
    parallel(channels, grain, [&](int64_t begin, int64_t end) {
      Buffer<float> plane(args.height * args.width);
      for (int64_t c = begin; c < end; ++c) {
        input.write(image, c, plane.data(), padded.data() + c * input.channel());
      }
    });
    parallel(work.units(), work.grain(), [&](int64_t begin, int64_t end) {
      for (int64_t unit = begin; unit < end; ++unit) {
        work.neighbours(unit, image, padded.data(), input, offsets.data());
      }
    });
  }
}

}  // namespace

void panel_conv(const PanelConvArgs& args, const ParallelFor& parallel) {
  if (args.batch == 0 || args.height * args.width == 0) {
    return;
  }
  const Work work(args, parallel.threads());
  if (args.kernel == 3) {
    return convolve_neighbours(args, work, parallel);
  }
  parallel(args.batch * work.units(), work.grain(), [&](int64_t begin, int64_t end) {
    for (int64_t unit = begin; unit < end; ++unit) {
      work.pointwise(unit % work.units(), unit / work.units());
    }
  });
}

void panel_conv_pack(const PanelConvPackArgs& args, const ParallelFor&) {
  const int64_t rows = tile_rows(args.out_channels);
  const int64_t tiles = divide_up(args.out_channels, rows);
  *args.packed_size = args.groups * tiles * rows * args.terms;
  *args.panel = kPanel;
  if (args.packed == nullptr) {
    return;
  }
  float* to = args.packed;
  for (int64_t group = 0; group < args.groups; ++group) {
    for (int64_t tile = 0; tile < tiles; ++tile) {
      for (int64_t k = 0; k < args.terms; ++k) {
        for (int64_t r = tile * rows; r < (tile + 1) * rows; ++r, ++to) {
          *to = r < args.out_channels ? args.weight[(group * args.out_channels + r) * args.terms + k] : 0.0f;
        }
      }
    }
  }
}

void panel_copy(const PanelCopyArgs& args, const ParallelFor& parallel) {
  const int64_t size = args.height * args.width, panels = divide_up(size, kPanel);
  const int64_t lines = args.maps_line == args.width * args.maps_pixel ? 1 : args.height;
  const int64_t width = lines == 1 ? size : args.width;  // lines that follow one another are one
  parallel(args.batch * args.channels, divide_up(kLeastWork, 16 * (size + 1)), [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t image = i / args.channels, channel = i % args.channels;
      float* maps = args.maps + image * args.maps_image + channel * args.maps_channel;
      float* to = args.panels.data + image * args.panels.image + channel * kPanel;
      for (int64_t line = 0; line < lines; ++line) {
        each_run(args.panels.panel, line * width, (line + 1) * width, [&](int64_t at, int64_t pixel, int64_t count) {
          float* other = maps + line * args.maps_line + pixel * args.maps_pixel;
          for (int64_t n = 0; n < count; ++n) {
            if (args.to_maps) {
              other[n * args.maps_pixel] = to[at + n];
            } else {
              to[at + n] = other[n * args.maps_pixel];
            }
          }
        });
      }
      for (int64_t n = size; n < panels * kPanel && !args.to_maps; ++n) {
        to[(panels - 1) * args.panels.panel + n - (panels - 1) * kPanel] = 0;
      }
    }
  });
}

}  // namespace refinedet::cpu::REFINEDET_CPU_LEVEL
