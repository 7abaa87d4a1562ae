// Where the columns of deconv_sum's product belong in its maps, as the accumulators of tensor cores hold them: sums of
// two neighboring columns of one row, for every 8 columns. Lanes swap half of what they have with a partner, after
// which each has four results that lie side by side in the maps, and those of a warp fill whole sectors of 32 bytes.
#pragma once

#include "cuda/primitives/product_tile.h"
#include "ops/deconv_sum.h"

namespace refinedet::cuda {

// Which of the bits a row, which is a pixel of the input, has; and which of them a place asks for.
inline constexpr int kInside = 4;  // the pixel is one
inline constexpr int kRight = 1;   // the tap to the right of it is not cropped
inline constexpr int kBelow = 2;
inline constexpr int kNever = 8;

// The part of a place in the maps that a row decides, or a column. Both added are the first of four elements.
struct RowPlace {
  int64_t offset;
  int has;
};
struct ColumnPlace {
  int64_t offset;
  int channel;  // of the first element
  int needs;
};

struct DeconvMaps {
  int pixels, plane;  // of the input: all, and of an image
  int in_channels, channels;
  int in_height, in_width, out_height, out_width;

  __device__ int columns() const { return 4 * channels; }
  __device__ int has(int pixel, int y, int x) const {
    return (pixel < pixels ? kInside : 0) | (2 * x + 1 < out_width ? kRight : 0) |
           (2 * y + 1 < out_height ? kBelow : 0);
  }
};

// Pairs of lanes whose numbers differ in the bit `partner`: the first of them goes on with the first pair of columns,
// the second with the second.
template <int partner>
__device__ __forceinline__ void swap_pairs(const float* first, const float* second, float (&four)[4]) {
  const bool odd = (threadIdx.x & partner) != 0;
  const float x = __shfl_xor_sync(kAllLanes, odd ? first[0] : second[0], partner);
  const float y = __shfl_xor_sync(kAllLanes, odd ? first[1] : second[1], partner);
  four[0] = odd ? x : first[0];
  four[1] = odd ? y : first[1];
  four[2] = odd ? second[0] : x;
  four[3] = odd ? second[1] : y;
}

// Channels-last maps, with the weight's columns as (channel, tap) where `taps_inner`, else (tap, channel). Four
// channels of a tap of a pixel are one place. With taps_inner a thread's places lie one after the other.
template <bool taps_inner>
struct PixelPlaces : DeconvMaps {
  static constexpr int kBiases = 4;  // different channels of a place

  template <class T, class Tile>
  using Input = RowChunk<T, Tile::kRows, Tile::kThreads>;

  template <class T>
  __device__ Piece<T> input_piece(const T* input, int first_pixel, int first_channel, int row, int piece) const {
    const int pixel = first_pixel + row, channel = first_channel + piece * kPack<T>;
    return {input + static_cast<int64_t>(pixel) * in_channels + channel, pixel < pixels && channel < in_channels};
  }

  // `row`: 16 * i + 8 * half below the first of the warp.
  __device__ RowPlace row_place(int first_row, int row) const {
    const int pixel = first_row + row + static_cast<int>(threadIdx.x) % kWarp / 4;
    const int line = pixel / in_width, x = pixel % in_width, y = line % in_height;
    const int64_t out_line = static_cast<int64_t>(line / in_height) * out_height + 2 * y;
    return {(out_line * out_width + 2 * x) * channels, has(pixel, y, x)};
  }

  // Of the 16 columns from first_column on.
  __device__ ColumnPlace column_place(int first_column) const {
    const int t = static_cast<int>(threadIdx.x) % 4;
    const int column = first_column + 8 * (t & 1) + 2 * (t & 2);
    const int tap = taps_inner ? 2 * (t & 1) + t / 2 : column / channels;
    const int channel = taps_inner ? first_column / 4 : column % channels;
    const bool inside = taps_inner ? channel < channels : tap < 4;
    return {(static_cast<int64_t>(tap / 2) * out_width + tap % 2) * channels + channel, channel,
            inside ? kInside | tap : kNever};
  }

  __device__ static void collect(const float* first, const float* second, float (&four)[4]) {
    if constexpr (taps_inner) {
      const bool right = (threadIdx.x & 2) != 0;
      const float x = __shfl_xor_sync(kAllLanes, right ? first[0] : first[1], 2);
      const float y = __shfl_xor_sync(kAllLanes, right ? second[0] : second[1], 2);
      four[0] = right ? x : first[0];
      four[1] = right ? first[1] : x;
      four[2] = right ? y : second[0];
      four[3] = right ? second[1] : y;
    } else {
      swap_pairs<1>(first, second, four);
    }
  }
};

// Contiguous maps. Two taps of two pixels of a line are one place.
struct PlanePlaces : DeconvMaps {
  static constexpr int kBiases = 1;

  template <class T, class Tile>
  using Input = LineChunk<T, Tile::kRows, Tile::kThreads>;

  template <class T>
  __device__ Piece<T> input_piece(const T* input, int first_pixel, int first_channel, int line, int piece) const {
    const int pixel = first_pixel + piece * kPack<T>, channel = first_channel + line;
    const int64_t image = pixel / plane;
    return {input + (image * in_channels + channel) * plane + pixel % plane, pixel < pixels && channel < in_channels};
  }

  __device__ RowPlace row_place(int first_row, int row) const {
    const int pixel = first_row + row + static_cast<int>(threadIdx.x) % kWarp / 8 * 2;
    const int line = pixel / in_width, x = pixel % in_width, y = line % in_height;
    const int64_t first_line = static_cast<int64_t>(line / in_height) * channels * out_height;
    return {(first_line + 2 * y) * out_width + 2 * x, has(pixel, y, x)};
  }

  __device__ ColumnPlace column_place(int first_column) const {
    const int lane = static_cast<int>(threadIdx.x) % kWarp;
    const int column = first_column + 8 * (lane / 4 % 2) + 2 * (lane % 4), channel = column / 4;
    const int below = column / 2 % 2;
    return {(static_cast<int64_t>(channel) * out_height + below) * out_width, channel,
            channel < channels ? kInside | (below != 0 ? kBelow : 0) : kNever};
  }

  __device__ static void collect(const float* first, const float* second, float (&four)[4]) {
    swap_pairs<4>(first, second, four);
  }
};

}  // namespace refinedet::cuda
