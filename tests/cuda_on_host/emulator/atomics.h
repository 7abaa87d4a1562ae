// Atomic functions of device code. Relaxed, as on a GPU: without fences they order nothing else.
#pragma once

#include <type_traits>

#include "worker.h"

namespace coh {

COH_RUNTIME inline void before_atomic(void* place) {
  if (worker != nullptr) {
    worker->before_atomic(place);
  }
}
COH_RUNTIME inline void after_atomic(void* place) {
  if (worker != nullptr) {
    worker->after_atomic(place);
  }
}

// old = *p; *p = f(old), at once; for any type of 2, 4 or 8 bytes. Returns old.
template <class T, class F>
T update(T* p, const F& f) {
  using Word = std::conditional_t<sizeof(T) == 2, uint16_t, std::conditional_t<sizeof(T) == 4, uint32_t, uint64_t>>;
  static_assert(sizeof(T) == sizeof(Word), "an atomic of 2, 4 or 8 bytes");
  Word* const word = reinterpret_cast<Word*>(p);
  before_atomic(word);
  Word before = __atomic_load_n(word, __ATOMIC_RELAXED), after;
  T old;
  do {
    memcpy(static_cast<void*>(&old), &before, sizeof old);
    const T changed = f(old);
    memcpy(&after, &changed, sizeof after);
  } while (!__atomic_compare_exchange_n(word, &before, after, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED));
  after_atomic(word);
  return old;
}

template <class T>
using Value = std::type_identity_t<T>;  // so that an argument takes the pointer's type

}  // namespace coh

template <class T>
T atomicAdd(T* p, coh::Value<T> x) {
  return coh::update(p, [x](T old) { return static_cast<T>(old + x); });
}
template <class T>
T atomicSub(T* p, coh::Value<T> x) {
  return coh::update(p, [x](T old) { return static_cast<T>(old - x); });
}
template <class T>
T atomicAnd(T* p, coh::Value<T> x) {
  return coh::update(p, [x](T old) { return old & x; });
}
template <class T>
T atomicOr(T* p, coh::Value<T> x) {
  return coh::update(p, [x](T old) { return old | x; });
}
template <class T>
T atomicXor(T* p, coh::Value<T> x) {
  return coh::update(p, [x](T old) { return old ^ x; });
}
template <class T>
T atomicMax(T* p, coh::Value<T> x) {
  static_assert(std::is_integral_v<T>, "integers only, as in CUDA");
  return coh::update(p, [x](T old) { return old < x ? x : old; });
}
template <class T>
T atomicMin(T* p, coh::Value<T> x) {
  static_assert(std::is_integral_v<T>, "integers only, as in CUDA");
  return coh::update(p, [x](T old) { return x < old ? x : old; });
}
template <class T>
T atomicExch(T* p, coh::Value<T> x) {
  return coh::update(p, [x](T) { return x; });
}
template <class T>
T atomicCAS(T* p, coh::Value<T> expected, coh::Value<T> x) {
  return coh::update(p, [=](T old) { return old == expected ? x : old; });
}
