// What a 3x3 panel_conv reads: the lines of the input with zeros around them, so that every tap is the same distance
// away from every output.
#pragma once

#include <cstring>

#include "panel_conv.h"
#include "panel_conv_tile.h"

namespace refinedet::cpu::REFINEDET_CPU_LEVEL {

// Calls f(offset in the panels, offset from `begin`, count) for the runs of pixels [begin, end) of a channel that lie
// together. count is a constant for whole panels, so that what f does is unrolled there.
template <class F>
REFINEDET_HD void each_run(int64_t panel_stride, int64_t begin, int64_t end, const F& f) {
  int64_t panel = begin / kPanel, inside = begin % kPanel;
  for (int64_t done = 0; done < end - begin; ++panel, inside = 0) {
    const int64_t at = panel * panel_stride + inside;
    const int64_t left = end - begin - done < kPanel - inside ? end - begin - done : kPanel - inside;
    if (left == kPanel) {
      f(at, done, kPanel);
    } else {
      f(at, done, left);
    }
    done += left;
  }
}

// Outputs stand `row` positions apart from line to line, one more than a line has; that position holds the zero to the
// right of a line, which is the one to the left of the next, and its output is nobody's. With stride 2 a channel is
// four planes, of its even and odd lines and columns.
class PaddedInput {
 public:
  explicit PaddedInput(const PanelConvArgs& a) : args_(a), row_(a.out_width() + 1) {
    const bool strided = a.stride == 2;
    plane_ = strided ? (a.out_height() + 1) * row_ : (a.height + 2) * row_ + 1;
    channel_ = strided ? 4 * plane_ : plane_;
    for (int64_t tap = 0; tap < 9; ++tap) {
      const int64_t ky = tap / 3, kx = tap % 3;
      taps_[tap] = strided ? (2 * (ky != 1) + (kx != 1)) * plane_ + (ky == 2) * row_ + (kx == 2) : ky * row_ + kx;
    }
  }

  int64_t row() const { return row_; }
  int64_t channel() const { return channel_; }
  // Elements of so many channels; the last vector may reach beyond the last plane.
  int64_t size(int64_t channels) const { return channels * channel_ + kPanel; }

  void offsets(int64_t* to) const {
    const int64_t channels = args_.in_channels;
    for (int64_t c = 0; c < channels; ++c) {
      for (int64_t tap = 0; tap < 9; ++tap) {
        *to++ = c * channel_ + taps_[tap];
      }
    }
  }

  // Channel `c` of image `b`, counted over all groups. plane: scratch for the pixels of a channel.
  void write(int64_t b, int64_t c, float* plane, float* to) const {
    const float* x = args_.x.data + b * args_.x.image + c * kPanel;
    const int64_t width = args_.width, size = args_.height * width;
    if (args_.addend.data == nullptr) {
      each_run(args_.x.panel, 0, size, [&](int64_t from, int64_t pixel, int64_t count) {
        memcpy(plane + pixel, x + from, sizeof(float) * count);
      });
    } else {
      const float* addend = args_.addend.data + b * args_.addend.image + c * kPanel;
      const int64_t apart = args_.addend.panel - args_.x.panel;
      each_run(args_.x.panel, 0, size, [&](int64_t from, int64_t pixel, int64_t count) {
        const float* other = addend + from + pixel / kPanel * apart;
        for (int64_t i = 0; i < count; ++i) {
          plane[pixel + i] = x[from + i] + other[i];
        }
      });
    }
    for (int64_t y = 0; y < args_.height; ++y) {
      if (args_.stride == 1) {
        float* line = to + (y + 1) * row_;
        line[0] = 0;
        memcpy(line + 1, plane + y * width, sizeof(float) * width);
      } else {
        deal(plane + y * width, to + (y % 2) * 2 * plane_ + (y + 1) / 2 * row_);
      }
    }
    if (args_.stride == 1) {
      memset(to, 0, sizeof(float) * row_);
      memset(to + (args_.height + 1) * row_, 0, sizeof(float) * (row_ + 1));
      return;
    }
    // above the first odd line, and below the last one of either kind if the other has one more
    memset(to + 2 * plane_, 0, sizeof(float) * row_);
    memset(to + 3 * plane_, 0, sizeof(float) * row_);
    for (int64_t p = 0; p < 4; ++p) {
      const int64_t filled = p < 2 ? (args_.height + 1) / 2 : args_.height / 2 + 1;
      memset(to + p * plane_ + filled * row_, 0, sizeof(float) * (plane_ - filled * row_));
    }
  }

 private:
  // A line's even columns to `even`, its odd ones behind a zero to the plane after it.
  void deal(const float* line, float* even) const {
    float* odd = even + plane_;
    const int64_t pairs = args_.width / 2;
    odd[0] = 0;
    for (int64_t i = 0; i < pairs; ++i) {
      even[i] = line[2 * i];
      odd[i + 1] = line[2 * i + 1];
    }
    if (args_.width % 2 == 1) {
      even[pairs] = line[2 * pairs];
      odd[row_ - 1] = 0;
    }
    even[row_ - 1] = 0;
  }

  const PanelConvArgs& args_;
  int64_t row_, plane_, channel_;
  int64_t taps_[9];
};

}  // namespace refinedet::cpu::REFINEDET_CPU_LEVEL
