// Several elements in one memory access.
#pragma once

#include "core/box_io.h"
#include "device.h"

namespace refinedet::cuda {

// N elements that lie side by side; read and written at once where they are aligned to their size.
template <class T, int N>
struct alignas(sizeof(T) * N) Pack {
  T at[N];
};

// Elements of 16 bytes, the most that one thread moves at a time.
template <class T>
inline constexpr int kPack = 16 / static_cast<int>(sizeof(T));

inline bool is_aligned(const void* p, size_t bytes) { return reinterpret_cast<uintptr_t>(p) % bytes == 0; }

// N elements that lie side by side, in one access where `aligned` to their size (of at most 16 bytes).
template <int N, bool aligned, class T>
__device__ __forceinline__ Pack<T, N> load_pack(const T* p) {
  if constexpr (aligned) {
    return *reinterpret_cast<const Pack<T, N>*>(p);
  } else {
    Pack<T, N> pack;
    GPU_UNROLL
    for (int i = 0; i < N; ++i) {
      pack.at[i] = p[i];
    }
    return pack;
  }
}

template <int N, bool aligned, class T>
__device__ __forceinline__ void store_pack(T* p, const Pack<T, N>& pack) {
  if constexpr (aligned) {
    *reinterpret_cast<Pack<T, N>*>(p) = pack;
  } else {
    GPU_UNROLL
    for (int i = 0; i < N; ++i) {
      p[i] = pack.at[i];
    }
  }
}

// N elements as they lie in memory, for values that wait in registers: a Pack of half types would be taken apart into
// its elements there, at the price of putting it together and of waiting for it where it is loaded.
template <class T, int N>
struct Words {
  uint32_t at[N * sizeof(T) / 4];
};
template <class T, int N>
using RawPack = std::conditional_t<N * sizeof(T) == 16, Words<T, N>, Pack<T, N>>;

// N elements of an array that nothing writes while the kernel runs. Packs of 16 bytes are aligned to that.
template <int N, class T>
__device__ __forceinline__ RawPack<T, N> load_raw(const T* p) {
  if constexpr (N * sizeof(T) != 16) {
    return load_pack<N, false>(p);
  } else {
#if defined(__CUDA_ARCH__)
    const uint4 words = __ldg(reinterpret_cast<const uint4*>(p));
    return {{words.x, words.y, words.z, words.w}};
#else
    const Pack<T, N> pack = load_pack<N, true>(p);
    RawPack<T, N> raw;
    memcpy(&raw, &pack, sizeof(raw));
    return raw;
#endif
  }
}

// A row of four, in one access (two for float64) where `aligned`, which the launcher has asked of every array.
template <bool aligned, class T>
__device__ __forceinline__ Pack<T, 4> load_row(const T* p) {
  if constexpr (!aligned) {
    return {p[0], p[1], p[2], p[3]};
  } else if constexpr (sizeof(T) == 8) {
    const auto low = *reinterpret_cast<const Pack<T, 2>*>(p), high = *reinterpret_cast<const Pack<T, 2>*>(p + 2);
    return {low.at[0], low.at[1], high.at[0], high.at[1]};
  } else {
    return *reinterpret_cast<const Pack<T, 4>*>(p);
  }
}

template <bool aligned, class T>
__device__ __forceinline__ void store_row(T* p, const Pack<T, 4>& row) {
  if constexpr (!aligned) {
    p[0] = row.at[0], p[1] = row.at[1], p[2] = row.at[2], p[3] = row.at[3];
  } else if constexpr (sizeof(T) == 8) {
    *reinterpret_cast<Pack<T, 2>*>(p) = {row.at[0], row.at[1]};
    *reinterpret_cast<Pack<T, 2>*>(p + 2) = {row.at[2], row.at[3]};
  } else {
    *reinterpret_cast<Pack<T, 4>*>(p) = row;
  }
}

// Whether load_row<true> may read rows of this array.
template <class T>
bool rows_aligned(const T* p) {
  return is_aligned(p, min2<size_t>(16, 4 * sizeof(T)));
}

template <bool aligned, class T>
__device__ __forceinline__ Box<Accumulate<T>> load_box_row(const T* p) {
  const Pack<T, 4> row = load_row<aligned>(p);
  return load_box(row.at);
}

}  // namespace refinedet::cuda
