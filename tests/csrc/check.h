// What the C++ tests need of a framework: CHECK(condition, "what happened %g", x) prints a failure and counts it,
// and main ends with `return refinedet::test::report();`.
#pragma once

#include <atomic>
#include <cstdio>

namespace refinedet::test {

inline std::atomic<int> checks{0}, failures{0};

inline constexpr int kMaxPrinted = 20;

// Whether the failure that follows should be printed.
inline bool count_failure() { return ++failures <= kMaxPrinted; }

inline int report() {
  std::printf("%d checks, %d failed\n", checks.load(), failures.load());
  return failures == 0 && checks > 0 ? 0 : 1;
}

}  // namespace refinedet::test

#define CHECK(condition, ...)                                            \
  do {                                                                   \
    ++refinedet::test::checks;                                           \
    if (!(condition) && refinedet::test::count_failure()) {              \
      std::fprintf(stderr, "%s:%d: %s", __FILE__, __LINE__, #condition); \
      std::fprintf(stderr, "  " __VA_ARGS__);                            \
      std::fputc('\n', stderr);                                          \
    }                                                                    \
  } while (false)
