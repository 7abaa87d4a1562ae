// The twins of tensor-core instructions: against the tables of PTX's manual, written down here as they stand there.
#include <algorithm>
#include <limits>

#include "cuda/primitives/tensor_core.h"
#include "harness.h"

using namespace refinedet;
using namespace refinedet::cuda;
using namespace refinedet::harness;

namespace {

struct Place {
  int row, column;
};

// "Matrix Fragments for mma.m16n8k16 with floating point type" for 16-bit types, "... for mma.m16n8k8" for .tf32: where
// element i of a thread's fragment is.
struct Halves {
  static constexpr int kDepth = 16, kOfA = 8, kOfB = 4;
  static Place a(int lane, int i) {
    const int group = lane >> 2, thread_in_group = lane % 4;
    const int row = (i >= 0 && i < 2) || (i >= 4 && i < 6) ? group : group + 8;
    const int column = i < 4 ? thread_in_group * 2 + (i & 1) : thread_in_group * 2 + (i & 1) + 8;
    return {row, column};
  }
  static Place b(int lane, int i) {
    const int group = lane >> 2, thread_in_group = lane % 4;
    return {i < 2 ? thread_in_group * 2 + (i & 1) : thread_in_group * 2 + (i & 1) + 8, group};
  }
};

struct Tf32s {
  static constexpr int kDepth = 8, kOfA = 4, kOfB = 2;
  static Place a(int lane, int i) {
    const int group = lane >> 2, thread_in_group = lane % 4;
    return {i == 0 || i == 2 ? group : group + 8, i == 0 || i == 1 ? thread_in_group : thread_in_group + 4};
  }
  static Place b(int lane, int i) {
    const int group = lane >> 2, thread_in_group = lane % 4;
    return {i == 0 ? thread_in_group : thread_in_group + 4, group};
  }
};

// The same for the accumulators of both.
Place place_of_d(int lane, int i) {
  const int group = lane >> 2, thread_in_group = lane % 4;
  return {i < 2 ? group : group + 8, thread_in_group * 2 + (i & 1)};
}

template <class T>
__global__ void multiply_kernel(const uint32_t* a, const uint32_t* b, float* d) {
  const int lane = static_cast<int>(threadIdx.x);
  uint32_t mine[4], others[2];
  float sums[4];
  memcpy(mine, a + 4 * lane, sizeof mine);
  memcpy(others, b + 2 * lane, sizeof others);
  memcpy(sums, d + 4 * lane, sizeof sums);
  multiply_fragments<T>(sums, mine, others);
  memcpy(d + 4 * lane, sums, sizeof sums);
}

template <class T, class Layout>
void check_product() {
  constexpr int kDepth = Layout::kDepth;
  static_assert(kDepth == kProductDepth<T>);
  Random random(5);
  // small whole numbers: every sum is exact
  const auto whole = [&] { return static_cast<float>(random.below(17) - 8); };
  float a[16][kDepth], b[kDepth][8], c[16][8];
  for (auto& row : a) std::generate(std::begin(row), std::end(row), whole);
  for (auto& row : b) std::generate(std::begin(row), std::end(row), whole);
  for (auto& row : c) std::generate(std::begin(row), std::end(row), whole);
  Array<T> of_a(32 * Layout::kOfA), of_b(32 * Layout::kOfB);
  Array<float> d(32 * 4), expected(32 * 4);
  for (int lane = 0; lane < 32; ++lane) {
    for (int i = 0; i < Layout::kOfA; ++i) {
      const Place at = Layout::a(lane, i);
      of_a[lane * Layout::kOfA + i] = round_to<T>(a[at.row][at.column]);
    }
    for (int i = 0; i < Layout::kOfB; ++i) {
      const Place at = Layout::b(lane, i);
      of_b[lane * Layout::kOfB + i] = round_to<T>(b[at.row][at.column]);
    }
    for (int i = 0; i < 4; ++i) {
      const Place at = place_of_d(lane, i);
      float& sum = expected[4 * lane + i];
      sum = d[4 * lane + i] = c[at.row][at.column];
      for (int k = 0; k < kDepth; ++k) {
        sum += a[at.row][k] * b[k][at.column];
      }
    }
  }
  launch("test", multiply_kernel<T>, dim3(1), dim3(32), 0, nullptr, reinterpret_cast<const uint32_t*>(of_a.data()),
         reinterpret_cast<const uint32_t*>(of_b.data()), d.data());
  expect_close("mma", d, expected);
}

// Reads four matrices whose rows lie `pitch` bytes apart.
template <bool transposed>
__global__ void matrices_kernel(const uint16_t* from, uint32_t* to, int pitch) {
  GPU_SHARED(uint16_t, rows, [32][32]);
  const int lane = static_cast<int>(threadIdx.x);
  uint16_t* const row = &rows[0][0] + lane * pitch / 2;
  memcpy(row, from + 8 * lane, 16);
  __syncwarp();
  uint32_t words[4];
  if constexpr (transposed) {
    load_transposed_matrices(words, row);
  } else {
    load_matrices(words, row);
  }
  memcpy(to + 4 * lane, words, sizeof words);
}

// ldmatrix: thread l holds, of each matrix, elements 2 (l % 4) and 2 (l % 4) + 1 of row l / 4; with .trans the matrix
// is its transpose.
template <bool transposed>
void check_matrices(int pitch, int64_t conflicts) {
  Array<uint16_t> from(32 * 8), got(32 * 8), expected(32 * 8);
  for (int i = 0; i < 32 * 8; ++i) {
    from[i] = static_cast<uint16_t>(1000 + i);
  }
  for (int lane = 0; lane < 32; ++lane) {
    for (int matrix = 0; matrix < 4; ++matrix) {
      for (int i = 0; i < 2; ++i) {
        const int row = lane / 4, column = lane % 4 * 2 + i;
        expected[lane * 8 + matrix * 2 + i] =
            static_cast<uint16_t>(1000 + matrix * 64 + (transposed ? column * 8 + row : row * 8 + column));
      }
    }
  }
  const int64_t before = coh::bank_conflicts;
  launch("test", matrices_kernel<transposed>, dim3(1), dim3(32), 0, nullptr, from.data(),
         reinterpret_cast<uint32_t*>(got.data()), pitch);
  expect_close("ldmatrix", got, expected);
  expect(coh::bank_conflicts - before == conflicts, "rows in the same banks are counted");
}

struct alignas(16) Piece {
  int x, y, z, w;
};

template <bool waits>
__global__ void copy_kernel(const Piece* from, Piece* to) {
  GPU_SHARED(Piece, pieces, [3][32]);
  const int thread = static_cast<int>(threadIdx.x);
  for (int group = 0; group < 3; ++group) {
    copy_async(&pieces[group][thread], from + 32 * group + thread, group != 1);
    close_copy_group();
  }
  if constexpr (waits) {
    wait_for_copies<1>();
  }
  __syncthreads();
  const int other = waits ? 31 - thread : thread;  // whose copies others have waited for when they are read is chance
  to[thread] = pieces[0][other];
  to[32 + thread] = pieces[1][other];
  to[64 + thread] = pieces[2][thread];  // not waited for
  wait_for_copies<0>();
  __syncthreads();
  to[96 + thread] = pieces[2][31 - thread];
}

template <bool waits>
void check_copies() {
  Array<Piece> from(96), to(128);
  for (int i = 0; i < 96; ++i) {
    from[i] = {i, i + 1000, i + 2000, i + 3000};
  }
  launch("test", copy_kernel<waits>, dim3(1), dim3(32), 0, nullptr, from.data(), to.data());
  const int garbage = static_cast<int>(0xFBFBFBFBu);
  for (int i = 0; i < 32; ++i) {
    const Piece first = to[i], zeros = to[32 + i], early = to[64 + i], last = to[96 + i];
    expect(first.x == (waits ? 31 - i : garbage) && first.w == (waits ? 3031 - i : garbage), "a copy waited for");
    expect(zeros.x == (waits ? 0 : garbage) && zeros.w == zeros.x, "zeros where it is not inside");
    expect(early.x == garbage && early.w == garbage, "a copy not waited for");
    expect(last.x == 64 + 31 - i && last.w == 3064 + 31 - i, "the last group");
  }
}

// ---------------------------------------------------------------- wrong ones

__global__ void missing_lane_kernel() {
  GPU_SHARED(uint32_t, row, [4]);
  uint32_t r[4];
  if (threadIdx.x != 3) {
    load_matrices(r, row);
  }
}

__global__ void crooked_kernel() {
  GPU_SHARED(uint16_t, row, [16]);
  uint32_t r[4];
  load_matrices(r, row + 1);
}

__global__ void outside_kernel(const uint32_t* global) {
  uint32_t r[4];
  load_matrices(r, global);
}

__global__ void crooked_copy_kernel(const char* global) {
  GPU_SHARED(uint32_t, row, [4]);
  copy_async(row, global + 4, true);
}

__global__ void divergent_kernel() {
  GPU_SHARED(uint32_t, row, [4]);
  uint32_t r[4] = {}, b[2] = {};
  float d[4] = {};
  if (threadIdx.x % 2 == 0) {
    load_matrices(r, row);
  } else {
    multiply_fragments<Half>(d, r, b);
  }
}

template <class... P, class... A>
void expect_report(const char* part, void (*kernel)(P...), A&&... arguments) {
  std::string report = "nothing";
  try {
    launch("test", kernel, dim3(1), dim3(32), 0, nullptr, std::forward<A>(arguments)...);
  } catch (const coh::error& error) {
    report = error.what();
  }
  if (report.find(part) == std::string::npos) {
    ++failures;
    printf("FAIL expected a report of '%s', got: %s\n", part, report.c_str());
  }
}

}  // namespace

CUDA_CASE(tensor_core_products) {
  check_product<Half, Halves>();
  check_product<BFloat16, Halves>();
  check_product<float, Tf32s>();
}

CUDA_CASE(tensor_core_tf32) {
  const auto rounded = [](float x) {
    const uint32_t bits = round_to_tf32(static_cast<uint32_t>(float_to_bits(x)));
    return bits_to_float(static_cast<int32_t>(bits));
  };
  const float infinity = std::numeric_limits<float>::infinity(), step = 0x1p-10f;
  expect(rounded(1 + step) == 1 + step && rounded(-3) == -3, "what fits stays");
  expect(rounded(1 + 0.49f * step) == 1 && rounded(1 + 0.51f * step) == 1 + step, "to the nearest");
  expect(rounded(1 + 0.5f * step) == 1 + step && rounded(-1 - 0.5f * step) == -1 - step, "ties away from zero");
  expect(rounded(infinity) == infinity && rounded(-infinity) == -infinity, "infinity stays");
  expect(rounded(bits_to_float(0x7fffffff)) != rounded(bits_to_float(0x7fffffff)), "NaN stays NaN");
}

CUDA_CASE(tensor_core_matrices) {
  check_matrices<false>(16, 0);
  check_matrices<true>(16, 0);
  check_matrices<true>(48, 0);
  check_matrices<false>(64, 4 * 2 * 6);  // every second row in the same banks
}

CUDA_CASE(tensor_core_copies) {
  check_copies<true>();
  check_copies<false>();
}

CUDA_CASE(tensor_core_reports) {
  const Array<uint32_t> global(8);
  expect_report("lane 3 of a warp takes no part", missing_lane_kernel);
  expect_report("not aligned to 16 bytes", crooked_kernel);
  expect_report("not in shared memory", outside_kernel, global.data());
  expect_report("global memory that is not aligned", crooked_copy_kernel, reinterpret_cast<const char*>(global.data()));
  expect_report("divergent warp operation", divergent_kernel);
}
