// Where a tap of a deformable convolution reads, with which weights, and what its gradients are.
#pragma once

#include "math.h"

namespace refinedet {

struct DeformGeometry {
  int64_t height, width;  // of the input; their product is below 2^31
  int64_t out_height, out_width;
  int64_t kernel_h, kernel_w;
  int64_t stride_y, stride_x;
  int64_t pad_y, pad_x;
  int64_t dilation_y, dilation_x;
  int64_t offset_groups;

  REFINEDET_HD int64_t taps() const { return kernel_h * kernel_w; }
  REFINEDET_HD int64_t in_pixels() const { return height * width; }
  REFINEDET_HD int64_t out_pixels() const { return out_height * out_width; }

  // Sets the output's size, from all the rest; below 0 where the kernel does not fit into the map.
  REFINEDET_HOST void find_out_size() {
    out_height = out_side(height, pad_y, dilation_y, kernel_h, stride_y);
    out_width = out_side(width, pad_x, dilation_x, kernel_w, stride_x);
  }

 private:
  REFINEDET_HOST static int64_t out_side(int64_t side, int64_t pad, int64_t dilation, int64_t kernel, int64_t stride) {
    const int64_t room = side + 2 * pad - dilation * (kernel - 1) - 1;
    return room < 0 ? (room >= -stride ? 0 : -1) : room / stride + 1;
  }
};

// Output pixels, numbered through the batch as (image, y, x).
struct PixelRange {
  int64_t begin, count;
};

// Where one tap of one output pixel reads. A position that is not inside (-1, height) x (-1, width), NaN included,
// has no corner and zeros for ly and lx.
template <class W>
struct DeformSample {
  int32_t corner[4];  // y * width + x of the top left, top right, bottom left, bottom right pixel; -1 outside the map
  W ly, lx;           // from the top left corner to the position, in [0, 1)
  W mask;             // 1 where there is none
};

// A coordinate: of the output pixel's first tap, plus the tap's distance from that, plus the shifts. In this order, as
// the sum of the shifts is often exact.
template <class W>
REFINEDET_HD W deform_position(W base, W tap, W offset, W center) {
  return (base + tap) + (offset + center);
}

REFINEDET_HD float floor_of(float x) { return floorf(x); }
REFINEDET_HD double floor_of(double x) { return floor(x); }

template <class W>
REFINEDET_HD DeformSample<W> sample_at(W y, W x, W mask, int64_t height, int64_t width) {
  const bool inside =
      (y > W(-1)) & (x > W(-1)) & (y < static_cast<W>(height)) & (x < static_cast<W>(width));  // false for NaN
  y = inside ? y : W(-2);
  x = inside ? x : W(-2);
  const W top = floor_of(y), left = floor_of(x);
  const int64_t y0 = static_cast<int64_t>(top), x0 = static_cast<int64_t>(left);
  const bool above = y0 >= 0, below = inside & (y0 + 1 < height), before = x0 >= 0, behind = x0 + 1 < width;
  const int64_t first = y0 * width + x0;
  const auto pixel = [](bool valid, int64_t index) { return static_cast<int32_t>(valid ? index : -1); };
  return {{pixel(above & before, first), pixel(above & behind, first + 1), pixel(below & before, first + width),
           pixel(below & behind, first + width + 1)},
          y - top,
          x - left,
          mask};
}

template <class W>
struct CornerWeights {
  W w[4];
};

template <class W>
REFINEDET_HD CornerWeights<W> weights_of(const DeformSample<W>& s) {
  const W hy = W(1) - s.ly, hx = W(1) - s.lx;
  return {{hy * hx, hy * s.lx, s.ly * hx, s.ly * s.lx}};
}

template <class W>
REFINEDET_HD bool reads_nothing(const DeformSample<W>& s) {
  return (s.corner[0] & s.corner[1] & s.corner[2] & s.corner[3]) < 0;
}

// Of the position and the mask.
template <class W>
struct SampleGradient {
  W y, x, mask;
};

// dot[i]: the sum over channels of the columns' gradient times corner i.
template <class W>
REFINEDET_HD SampleGradient<W> gradient_of(const DeformSample<W>& s, const W* dot) {
  const CornerWeights<W> weights = weights_of(s);
  return {s.mask * ((W(1) - s.lx) * (dot[2] - dot[0]) + s.lx * (dot[3] - dot[1])),
          s.mask * ((W(1) - s.ly) * (dot[1] - dot[0]) + s.ly * (dot[3] - dot[2])),
          (weights.w[0] * dot[0] + weights.w[1] * dot[1]) + (weights.w[2] * dot[2] + weights.w[3] * dot[3])};
}

}  // namespace refinedet
