// How a kernel asks for threads without knowing whose they are: the torch ops hand it torch's pool, the NumPy module
// its own, a test a plain loop.
#pragma once

#include <cstdint>

#include "macros.h"

namespace refinedet {

class ParallelFor {
 public:
  using Body = void (*)(void* context, int64_t begin, int64_t end);
  // Calls body over [0, n) in disjoint ranges of at least `grain` items (the last may be shorter), and waits for all.
  using Run = void (*)(void* pool, int64_t n, int64_t grain, Body body, void* context);

  ParallelFor(Run run, void* pool, int64_t threads) : run_(run), pool_(pool), threads_(threads) {}

  int64_t threads() const { return threads_; }

  // f(begin, end); it must not throw.
  template <class F>
  REFINEDET_HD void operator()(int64_t n, int64_t grain, const F& f) const {
    if (n <= 0) {
      return;
    }
    if (n <= grain || threads_ == 1) {
      return f(int64_t{0}, n);
    }
    run_(
        pool_, n, grain,
        [](void* context, int64_t begin, int64_t end) { (*static_cast<const F*>(context))(begin, end); },
        const_cast<void*>(static_cast<const void*>(&f)));
  }

 private:
  Run run_;
  void* pool_;
  int64_t threads_;
};

}  // namespace refinedet
