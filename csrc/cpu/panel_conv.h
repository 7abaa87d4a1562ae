// Convolutions of a detector's narrow layers at inference, in float32, with what follows them in the same pass:
//
//     out = last_relu(relu(conv(x + addend) + bias) + shortcut)      each but conv only where it is asked for
//
// 1x1 with stride 1, or 3x3 with padding 1 and stride 1 or 2; dilation 1, any groups.
//
// Maps lie in panels of a few vectors of pixels: (images, panels, channels, pixels of a panel), an image's pixels
// counted line by line, the last panel filled up with anything. It is the order in which a matrix product wants the
// pixels, so that a 1x1 convolution reads and writes memory from one end to the other and copies nothing; a part of the
// channels is read and written in place.
#pragma once

#include "level.h"

namespace refinedet::cpu {

// The pixels of a channel in a panel lie together, its channels follow one another.
template <class T>
struct PanelMaps {
  T* data;
  int64_t image, panel;  // elements between two images, two panels
};

struct PanelConvArgs {
  int64_t batch, groups;
  int64_t in_channels, out_channels;  // of a group
  int64_t height, width;              // of the input
  int64_t kernel, stride;
  PanelMaps<const float> x, addend;  // addend: null but for 3x3, where it may be
  const float* weight;               // as panel_conv_pack writes it
  const float* bias;                 // (groups * out_channels), or null
  bool relu;
  PanelMaps<const float> shortcut;  // like out, or null
  bool last_relu;
  PanelMaps<float> out;

  int64_t out_height() const { return (height - 1) / stride + 1; }
  int64_t out_width() const { return (width - 1) / stride + 1; }
  int64_t terms() const { return in_channels * kernel * kernel; }  // of the sum that an output is
};

// (groups * out_channels, in_channels, kernel, kernel) to the order in which the kernel of this level reads it.
struct PanelConvPackArgs {
  int64_t groups, out_channels, terms;
  const float* weight;
  float* packed;  // null: the sizes are written and nothing else
  int64_t* packed_size;
  int64_t* panel;  // pixels of a panel at this level
};

// Maps of any layout to panels, the last one filled up with zeros; and panels to maps.
struct PanelCopyArgs {
  int64_t batch, channels, height, width;
  float* maps;                                              // read, or written with to_maps
  int64_t maps_image, maps_channel, maps_line, maps_pixel;  // elements between two of them
  PanelMaps<float> panels;
  bool to_maps;
};

REFINEDET_CPU_KERNEL(panel_conv, PanelConvArgs)
REFINEDET_CPU_KERNEL(panel_conv_pack, PanelConvPackArgs)
REFINEDET_CPU_KERNEL(panel_copy, PanelCopyArgs)

}  // namespace refinedet::cpu
