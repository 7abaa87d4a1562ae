// The emulator itself: what its functions mean, and that kernels which misuse them are reported.
#include <numeric>

#include "harness.h"

using namespace refinedet;
using namespace refinedet::cuda;
using namespace refinedet::harness;

namespace {

template <class... P, class... A>
void run(void (*kernel)(P...), unsigned blocks, unsigned threads, A&&... arguments) {
  launch("test", kernel, dim3(blocks), dim3(threads), 0, nullptr, std::forward<A>(arguments)...);
}

// Each thread notes f(thread, lane); `expected` says what that must be.
template <class F>
__global__ void note_kernel(int64_t* notes, F f) {
  const int thread = static_cast<int>(threadIdx.x);
  notes[thread] = static_cast<int64_t>(f(thread, thread % kWarp));
}

template <class F, class G>
void expect_notes(const char* what, int threads, const F& f, const G& expected) {
  Array<int64_t> notes(threads), right(threads);
  run(note_kernel<F>, 1, static_cast<unsigned>(threads), notes.data(), f);
  for (int t = 0; t < threads; ++t) {
    right[t] = static_cast<int64_t>(expected(t, t % kWarp));
  }
  expect_close(what, notes, right);
}

// The kernel must be stopped with a report that contains `part`.
template <class... P, class... A>
void expect_report(const char* part, void (*kernel)(P...), unsigned threads, A&&... arguments) {
  std::string report = "nothing";
  try {
    run(kernel, 1, threads, std::forward<A>(arguments)...);
  } catch (const coh::error& error) {
    report = error.what();
  }
  if (report.find(part) == std::string::npos) {
    ++failures;
    printf("FAIL expected a report of '%s', got: %s\n", part, report.c_str());
  }
}

__global__ void place_kernel(int* visits) {
  const unsigned block = (blockIdx.z * gridDim.y + blockIdx.y) * gridDim.x + blockIdx.x;
  const unsigned thread = (threadIdx.z * blockDim.y + threadIdx.y) * blockDim.x + threadIdx.x;
  atomicAdd(&visits[block * blockDim.x * blockDim.y * blockDim.z + thread], 1 + static_cast<int>(thread));
}

__global__ void atomics_kernel(int* numbers, double* sum, unsigned long long* large, unsigned* bits) {
  const int t = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  atomicAdd(&numbers[0], t);
  atomicSub(&numbers[1], 1);
  atomicMax(&numbers[2], t);
  atomicMin(&numbers[3], -t);
  atomicCAS(&numbers[4], 0, 42);
  atomicExch(&numbers[5], 9);
  atomicAdd(sum, 0.25);
  atomicAdd(large, 1ull << 33);
  atomicOr(&bits[0], 1u << t % 32);
  atomicXor(&bits[1], 1u << t % 32);
  atomicAnd(&bits[2], ~(1u << t % 32));
}

template <int n>
__global__ void reverse_kernel(int* numbers) {
  GPU_SHARED(int, first, [n]);
  GPU_SHARED(int, second, [2][n]);
  GPU_DYNAMIC_SHARED(int, third);
  const int t = static_cast<int>(threadIdx.x);
  first[t] = numbers[t];
  second[1][t] = 1000 * t;
  third[t] = 1;
  __syncthreads();
  numbers[t] = first[n - 1 - t] + second[1][n - 1 - t] + third[n - 1 - t];
}

// ---------------------------------------------------------------- wrong ones

__global__ void two_barriers_kernel() {
  if (threadIdx.x < 16) {
    __syncthreads();
  } else {
    __syncthreads();
  }
}

__global__ void skipped_barrier_kernel() {
  if (threadIdx.x != 5) {
    __syncthreads();
  }
}

__global__ void stranger_kernel() { __ballot_sync(0xffu, 1); }

__global__ void missing_lane_kernel() {
  if (threadIdx.x != 7) {
    __syncwarp();
  }
  __syncthreads();
}

__global__ void different_masks_kernel() {
  if (threadIdx.x == 0) {
    __shfl_sync(0x3u, 1, 0);
  } else {
    __shfl_sync(0x7u, 1, 0);
  }
}

__global__ void different_operations_kernel() {
  if (threadIdx.x % 2 == 0) {
    __ballot_sync(kAllLanes, 1);
  } else {
    __syncwarp();
  }
}

__global__ void check_kernel(int limit) {
  GPU_CHECK(static_cast<int>(threadIdx.x) < limit, "a thread beyond the limit");
  __syncthreads();
}

__global__ void throwing_kernel() { throw std::runtime_error("a reason"); }

[[maybe_unused]] __global__ void race_kernel(int* numbers) {
  GPU_SHARED(int, shared, [64]);
  const int t = static_cast<int>(threadIdx.x);
  shared[t] = numbers[t];
  numbers[t] = shared[63 - t];  // without a barrier
}

__global__ void garbage_kernel(int* numbers) {
  GPU_SHARED(int, shared, [64]);
  numbers[threadIdx.x] = shared[threadIdx.x];
}

}  // namespace

CUDA_CASE(emulator_places) {
  Array<int> visits(2 * 3 * 2 * 24);
  std::fill(visits.begin(), visits.end(), 0);
  launch("test", place_kernel, dim3(2, 3, 2), dim3(4, 3, 2), 0, nullptr, visits.data());
  for (int64_t i = 0; i < visits.size(); ++i) {
    expect(visits[i] == 1 + i % 24, "every thread runs once");
  }
}

CUDA_CASE(emulator_votes) {
  expect_notes(
      "ballot", 64, [](int t, int) { return __ballot_sync(kAllLanes, t % 3 == 0); },
      [](int t, int lane) {
        unsigned votes = 0;
        for (int l = 0; l < kWarp; ++l) {
          votes |= static_cast<unsigned>((t - lane + l) % 3 == 0) << l;
        }
        return votes;
      });
  expect_notes(
      "any, all", 32,
      [](int, int lane) {
        return __any_sync(kAllLanes, lane == 7) * 100 + __all_sync(kAllLanes, lane < 31) * 10 +
               __all_sync(kAllLanes, 1);
      },
      [](int, int) { return 101; });
  expect_notes(
      "lanes apart, each side with its own mask", 32,
      [](int, int lane) { return lane < 10 ? __ballot_sync(0x3ffu, lane % 2) : __shfl_sync(~0x3ffu, 7u, 31); },
      [](int, int lane) { return lane < 10 ? 0x2aau : 7u; });
  expect_notes(
      "a warp that is not full", 45, [](int t, int) { return __ballot_sync(t < 32 ? kAllLanes : 0x1fffu, 1); },
      [](int t, int) { return t < 32 ? kAllLanes : 0x1fffu; });
  expect_notes(
      "match", 32, [](int, int lane) { return __match_any_sync(kAllLanes, lane / 5); },
      [](int, int lane) { return (31ull << lane / 5 * 5) & kAllLanes; });
}

CUDA_CASE(emulator_shuffles) {
  const auto group = [](int t) { return t & ~7; };
  expect_notes(
      "shfl", 64, [](int t, int) { return __shfl_sync(kAllLanes, 10 * t, 5); },
      [](int t, int lane) { return 10 * (t - lane + 5); });
  expect_notes(
      "shfl, groups of 8", 64, [](int t, int) { return __shfl_sync(kAllLanes, t, 9, 8); },
      [=](int t, int) { return group(t) + 1; });
  expect_notes(
      "shfl_up", 64, [](int t, int) { return __shfl_up_sync(kAllLanes, t, 3); },
      [](int t, int lane) { return lane < 3 ? t : t - 3; });
  expect_notes(
      "shfl_down, groups of 8", 64, [](int t, int) { return __shfl_down_sync(kAllLanes, t, 3, 8); },
      [](int t, int) { return t % 8 > 4 ? t : t + 3; });
  expect_notes(
      "shfl_xor", 64, [](int t, int) { return __shfl_xor_sync(kAllLanes, t, 6); }, [](int t, int) { return t ^ 6; });
  expect_notes(
      "shfl of 8 bytes", 32, [](int t, int) { return __shfl_xor_sync(kAllLanes, 0.5 + t, 1); },
      [](int t, int) { return t ^ 1; });
}

CUDA_CASE(emulator_reductions) {
  expect_notes(
      "add", 64, [](int t, int) { return __reduce_add_sync(kAllLanes, -t); },
      [](int t, int lane) { return -(t - lane) * 32 - 496; });
  expect_notes(
      "min, max", 32,
      [](int t, int) { return __reduce_min_sync(kAllLanes, 5 - t) * 1000 + __reduce_max_sync(kAllLanes, 5 - t); },
      [](int, int) { return -26 * 1000 + 5; });
  expect_notes(
      "unsigned min, max", 32,
      [](int t, int) {
        const unsigned x = static_cast<unsigned>(5 - t);
        return __reduce_max_sync(kAllLanes, x) - __reduce_min_sync(kAllLanes, x);
      },
      [](int, int) { return 0xffffffffu; });
  expect_notes(
      "and, or, xor", 32,
      [](int t, int) {
        const unsigned x = static_cast<unsigned>(t) | 64u;
        return __reduce_and_sync(kAllLanes, x) + __reduce_or_sync(kAllLanes, x) + __reduce_xor_sync(kAllLanes, x);
      },
      [](int, int) { return 64 + 95 + 0; });
  expect_notes(
      "lanes that have returned", 32, [](int, int lane) { return lane < 20 ? __reduce_add_sync(0xfffffu, 1) : 0; },
      [](int, int lane) { return lane < 20 ? 20 : 0; });
}

CUDA_CASE(emulator_barriers) {
  for (const int threads : {1, 31, 45, 64, 1024}) {
    expect_notes(
        "count, and, or", threads,
        [=](int t, int) {
          return __syncthreads_count(t % 4 == 0) * 100 + __syncthreads_and(t < threads) * 10 +
                 __syncthreads_or(t == threads);
        },
        [=](int, int) { return (threads + 3) / 4 * 100 + 10; });
  }
}

CUDA_CASE(emulator_atomics) {
  Array<int> numbers(6);
  Array<unsigned> bits(std::vector<unsigned>{0, 0, kAllLanes});
  std::fill(numbers.begin(), numbers.end(), 0);
  double sum = 0;
  unsigned long long large = 0;
  run(atomics_kernel, 4, 64, numbers.data(), &sum, &large, bits.data());
  expect_close("numbers", numbers, Array<int>(std::vector<int>{255 * 128, -256, 255, -255, 42, 9}));
  expect_close("bits", bits, Array<unsigned>(std::vector<unsigned>{kAllLanes, 0, 0}));
  expect(sum == 64 && large == 256ull << 33, "sums of 8 bytes");
}

CUDA_CASE(emulator_shared_memory) {
  Array<int> numbers(128);
  std::iota(numbers.begin(), numbers.end(), 0);
  launch("test", reverse_kernel<128>, dim3(1), dim3(128), 128 * sizeof(int), nullptr, numbers.data());
  for (int t = 0; t < 128; ++t) {
    expect(numbers[t] == 1001 * (127 - t) + 1, "arrays in shared memory");
  }
  Array<int> garbage(64);
  run(garbage_kernel, 1, 64, garbage.data());
  const unsigned fill = static_cast<unsigned>(coh::options().fill) * 0x01010101u;
  expect(static_cast<unsigned>(garbage[0]) == fill && garbage[63] == garbage[0], "fresh shared memory holds garbage");
}

CUDA_CASE(emulator_reports) {
  expect_report("divergent barrier", two_barriers_kernel, 64);
  expect_report("divergent barrier", skipped_barrier_kernel, 64);
  expect_report("test_emulator.cpp:", skipped_barrier_kernel, 64);
  expect_report("is not in its own mask 0x000000ff", stranger_kernel, 32);
  expect_report("deadlock in block (0,0,0)", missing_lane_kernel, 32);
  expect_report("1 thread(s), first (7,0,0), wait at __syncthreads", missing_lane_kernel, 32);
  expect_report("deadlock", different_masks_kernel, 2);
  expect_report("divergent warp operation", different_operations_kernel, 32);
  expect_report("a thread beyond the limit", check_kernel, 32, 20);
  expect_report("a reason", throwing_kernel, 1);
  expect_report("invalid launch configuration", throwing_kernel, 1025);
  expect_report("invalid launch configuration", throwing_kernel, 0);
}

// Without ThreadSanitizer a race is seen where the order of the threads changes the result.
CUDA_CASE(emulator_race) {
#if !defined(COH_TSAN)
  Array<int> results[2] = {Array<int>(64), Array<int>(64)};
  for (const int order : {coh::Forward, coh::Reverse}) {
    coh::options().order = order;
    std::iota(results[order].begin(), results[order].end(), 0);
    run(race_kernel, 1, 64, results[order].data());
  }
  expect(!std::equal(results[0].begin(), results[0].end(), results[1].begin()), "a race shows");
#endif
}
