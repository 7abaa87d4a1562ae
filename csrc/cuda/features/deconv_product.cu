// deconv_sum on tensor cores: the input (pixels, Ci) times the weight (Ci, 4 Co), whose columns never reach the memory:
// from the accumulators, to which bias and lateral are added, they go to their places in the map.
//
// Counted for 256 to 256 channels from 20x20 to 40x40, batch 32, bfloat16, channels-last on an H200 (132 SMs, 1.7 GHz):
//   memory   59 MB (input 6.6, weight 0.5, lateral 26.2, out 26.2) at 4.3 TB/s:                           14 us
//   products 3.36 G multiply-adds; mma.sync does 1270 a cycle and SM (62% of what wgmma would):           12 us
//   L2       the weight once for each of 100 rows of tiles (52 MB), the input once for each block and for
//            each row of tiles that it goes on with (24 MB), lateral and out (52 MB): 128 MB at 6.5 TB/s: 20 us
//   shared   fragments 256 KB a tile, copies 94 KB, at 128 bytes a cycle; 6.1 tiles an SM:                10 us
// So about 20 us are expected, 1.4x of the floor, where columns in memory take 36. More than 25 us would refute that
// the L2 is what limits it; if it does, clusters of two blocks that share the weight (sm_90) would save 4 us more.
// Float32 in TF32 has too many bytes for the input to stay: 315 MB of the L2 and 48 us, where the memory alone takes
// 28. A single image is 112 small tiles, one for each block, whose 8 chunks take about 2 us.
//
// Therefore: tiles of 128 x 128, of 4 warps with 64 x 64 each (4 KB of fragments for 32 products of 16 x 8). Two blocks
// an SM, each with tiles one after the other, columns first: so the input's rows stay in shared memory where they fit
// (as many as 352 channels of half types on an SM with 228 KB), while the weight streams past them, also under the
// epilogue. Lateral is loaded 8 rows ahead; more would spill registers. Where 128 x 128 would leave SMs without a tile,
// tiles are 64 x 64.
//
// The backward stays as it is (deconv_sum.cu): the weight's gradient needs the gathered columns as a factor, so that
// the same kernel for the input's gradient would read the map a second time (26 MB) where now it reads the columns, of
// the same size. To take both products from the map would save the columns' writing (26 MB, 6 us of about 50) and lose
// 2 to 3 us in each product against cuBLAS's wgmma: not enough.
//
// Channels must be multiples of 4, those of the input channels-last multiples of 16 bytes; contiguous, lines must have
// an even number of pixels, planes a multiple of 16 bytes, and no column cropped. What else there is, other alignments
// among it, goes the way of deconv_sum.cu.
#include <limits>

#include "core/deconv_tile.h"
#include "cuda/primitives/convert.h"
#include "deconv_places.h"
#include "deconv_product.h"

namespace refinedet::cuda {
namespace {

using LargeTile = ProductTile<4, 8, 3, 2>;
using SmallTile = ProductTile<2, 4, 6, 4>;

// What is the same for all threads.
template <class T, class Maps>
struct Call {
  Maps maps;
  const T *input, *weight, *bias, *lateral;
  T* out;
  float low;
  int row_tiles = 0, column_tiles = 0;
  bool keeps_input = false;  // all chunks of a row of tiles are in shared memory
};

// Adds bias and lateral to a warp's sums and writes them to their places.
template <class Tile, class T, class Maps>
__device__ __forceinline__ void write_results(const Call<T, Maps>& call, const typename Tile::Sums& sums, int row,
                                              int column) {
  constexpr int kPairs = Tile::kColumnTiles / 2, kSteps = 2 * Tile::kRowTiles;
  constexpr int kAhead = 1;  // steps whose part of the lateral map is under way
  const Maps& maps = call.maps;
  ColumnPlace columns[kPairs];
  Pack<T, Maps::kBiases> bias[kPairs];
  GPU_UNROLL
  for (int j = 0; j < kPairs; ++j) {
    columns[j] = maps.column_place(column + 16 * j);
    bias[j] = {};
    if (call.bias != nullptr && columns[j].needs != kNever) {
      bias[j] = load_pack<Maps::kBiases, true>(call.bias + columns[j].channel);
    }
  }
  RowPlace rows[kSteps];
  Pack<T, 4> lateral[kSteps][kPairs];
  GPU_UNROLL
  for (int ahead = 0; ahead < kSteps + kAhead; ++ahead) {
    if (ahead < kSteps) {
      rows[ahead] = maps.row_place(row, 8 * ahead);
      GPU_UNROLL
      for (int j = 0; j < kPairs; ++j) {
        lateral[ahead][j] = {};
        if ((columns[j].needs & ~rows[ahead].has) == 0) {
          lateral[ahead][j] = load_pack<4, true>(call.lateral + rows[ahead].offset + columns[j].offset);
        }
      }
    }
    const int step = ahead - kAhead;
    if (step >= 0) {
      GPU_UNROLL
      for (int j = 0; j < kPairs; ++j) {
        const int half = step % 2 * 2;
        float four[4];
        maps.collect(sums[step / 2][2 * j] + half, sums[step / 2][2 * j + 1] + half, four);
        GPU_UNROLL
        for (int e = 0; e < 4; ++e) {
          four[e] = add_features<T>(four[e], load(bias[j].at[e % Maps::kBiases]), lateral[step][j].at[e], call.low);
        }
        if ((columns[j].needs & ~rows[step].has) == 0) {
          store_pack<4, true>(call.out + rows[step].offset + columns[j].offset, narrow<T>(four));
        }
      }
    }
  }
}

template <class Tile, class T, class Maps>
__global__ void __launch_bounds__(Tile::kThreads, Tile::kBlocks) product_kernel(Call<T, Maps> call) {
  using Input = typename Maps::template Input<T, Tile>;
  using Weight = LineChunk<T, Tile::kColumns, Tile::kThreads>;
  GPU_DYNAMIC_SHARED(char, shared);
  const Maps& maps = call.maps;
  const int columns = maps.columns(), chunks = static_cast<int>(divide_up(maps.in_channels, kChunkDepth<T>));
  char* const weights = shared;
  char* const inputs = shared + Tile::kStages * Weight::kBytes;

  // The block's tiles, those of a row one after the other. Their chunks are loaded some steps ahead of where they are
  // multiplied, across the ends of tiles.
  const int64_t tiles = static_cast<int64_t>(call.row_tiles) * call.column_tiles;
  const int first = static_cast<int>(blockIdx.x * tiles / gridDim.x);
  const int last = static_cast<int>((blockIdx.x + int64_t{1}) * tiles / gridDim.x);
  int load_tile = first, load_chunk = 0, stage = 0;
  const auto load_next = [&] {
    if (load_tile < last) {
      const int row = load_tile / call.column_tiles, column = load_tile % call.column_tiles;
      const int depth = load_chunk * kChunkDepth<T>;
      if (!call.keeps_input || column == 0 || load_tile == first) {
        Input::copy(inputs + (call.keeps_input ? load_chunk : stage) * Input::kBytes, [&](int line, int piece) {
          return maps.input_piece(call.input, row * Tile::kRows, depth, line, piece);
        });
      }
      Weight::copy(weights + stage * Weight::kBytes, [&](int line, int piece) -> Piece<T> {
        const int at = column * Tile::kColumns + piece * kPack<T>;
        return {call.weight + static_cast<int64_t>(depth + line) * columns + at,
                depth + line < maps.in_channels && at < columns};
      });
      if (++load_chunk == chunks) {
        load_chunk = 0;
        ++load_tile;
      }
    }
    close_copy_group();  // an empty one after the last: the groups' number says which chunks are there
    stage = stage + 1 == Tile::kStages ? 0 : stage + 1;
  };
  GPU_UNROLL
  for (int i = 0; i < Tile::kStages - 1; ++i) {
    load_next();
  }

  for (int tile = first; tile < last; ++tile) {
    typename Tile::Sums sums = {};
    for (int chunk = 0; chunk < chunks; ++chunk) {
      wait_for_copies<Tile::kStages - 2>();
      __syncthreads();  // this chunk is there for all, and none reads the last one any more, whose place is next
      load_next();      // goes on to the stage that comes in last, which is the one to multiply now
      const char* const input = inputs + (call.keeps_input ? chunk : stage) * Input::kBytes;
      Tile::template multiply<T, Input, Weight>(sums, input, weights + stage * Weight::kBytes);
    }
    const int row = tile / call.column_tiles, column = tile % call.column_tiles;
    write_results<Tile>(call, sums, row * Tile::kRows + Tile::warp_row(),
                        column * Tile::kColumns + Tile::warp_column());
  }
}

template <class Tile, class T, class Maps>
REFINEDET_HOST void launch_product(Call<T, Maps> call, Stream stream) {
  using Input = typename Maps::template Input<T, Tile>;
  using Weight = LineChunk<T, Tile::kColumns, Tile::kThreads>;
  constexpr int64_t kReserved = 1 << 10;  // of a multiprocessor's shared memory, for each block
  const int64_t chunks = divide_up(call.maps.in_channels, kChunkDepth<T>);
  call.row_tiles = static_cast<int>(divide_up(call.maps.pixels, Tile::kRows));
  call.column_tiles = static_cast<int>(divide_up(4 * call.maps.channels, Tile::kColumns));
  const int64_t tiles = static_cast<int64_t>(call.row_tiles) * call.column_tiles;
  const int64_t blocks = min2<int64_t>(tiles, Tile::kBlocks * multiprocessors());
  const int64_t weights = Tile::kStages * Weight::kBytes, kept = weights + chunks * Input::kBytes;
  // Fewer chunks than stages: the next row's first would come in while the last row's is still read.
  call.keeps_input = tiles > blocks && chunks >= Tile::kStages &&
                     Tile::kBlocks * (kept + kReserved) <= shared_memory_of_multiprocessor();
  const int64_t bytes = call.keeps_input ? kept : weights + Tile::kStages * Input::kBytes;
  launch("deconv_sum", product_kernel<Tile, T, Maps>, dim3(static_cast<unsigned>(blocks)), dim3(Tile::kThreads),
         static_cast<size_t>(bytes), stream, call);
}

template <class T, class Maps>
REFINEDET_HOST void launch_product(const DeconvSumArgs& args, const Maps& maps, Stream stream) {
  const Call<T, Maps> call{.maps = maps,
                           .input = static_cast<const T*>(args.input),
                           .weight = static_cast<const T*>(args.weight),
                           .bias = static_cast<const T*>(args.bias),
                           .lateral = static_cast<const T*>(args.lateral),
                           .out = static_cast<T*>(args.out),
                           .low = lowest_feature<T>(args.relu)};
  const int64_t large = divide_up(maps.pixels, LargeTile::kRows) * divide_up(4 * maps.channels, LargeTile::kColumns);
  if (large >= multiprocessors()) {
    launch_product<LargeTile>(call, stream);
  } else {
    launch_product<SmallTile>(call, stream);
  }
}

}  // namespace

bool deconv_product_takes(const DeconvSumArgs& args, bool tf32) {
  const DeconvSumShape& s = args.shape;
  const bool half = s.dtype == DType::f16 || s.dtype == DType::bf16;
  if (!half && !(s.dtype == DType::f32 && tf32)) {
    return false;
  }
  constexpr int64_t kMost = std::numeric_limits<int>::max() - LargeTile::kRows;
  const int64_t pixels = s.batch * s.in_pixels(), size = element_size(s.dtype), piece = 16 / size;
  bool aligned = is_aligned(args.input, 16) && is_aligned(args.weight, 16);
  for (const void* p : {args.bias, args.lateral, static_cast<const void*>(args.out)}) {
    aligned = aligned && is_aligned(p, static_cast<size_t>(4 * size));  // and null
  }
  const bool fits = s.channels_last
                        ? s.in_channels % piece == 0
                        : s.in_pixels() % piece == 0 && s.in_width % 2 == 0 && s.out_width == 2 * s.in_width;
  return aligned && fits && s.channels % 4 == 0 && s.in_channels > 0 && pixels > 0 && pixels <= kMost &&
         4 * s.channels <= kMost && s.in_channels <= kMost && compute_capability() >= kTensorCoreCapability;
}

void deconv_product(const DeconvSumArgs& args, Stream stream) {
  const DeconvSumShape& s = args.shape;
  const auto size = [](int64_t n) { return static_cast<int>(n); };
  const DeconvMaps maps{.pixels = size(s.batch * s.in_pixels()),
                        .plane = size(s.in_pixels()),
                        .in_channels = size(s.in_channels),
                        .channels = size(s.channels),
                        .in_height = size(s.in_height),
                        .in_width = size(s.in_width),
                        .out_height = size(s.out_height),
                        .out_width = size(s.out_width)};
  dispatch_single(s.dtype, [&]<class T>(Tag<T>) {
    if (!s.channels_last) {
      launch_product<T>(args, PlanePlaces{maps}, stream);
    } else if (s.taps_inner) {
      launch_product<T>(args, PixelPlaces<true>{maps}, stream);
    } else {
      launch_product<T>(args, PixelPlaces<false>{maps}, stream);
    }
  });
}

}  // namespace refinedet::cuda
