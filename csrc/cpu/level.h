// Several instruction sets in one binary. Each kernel file is compiled once per level, with REFINEDET_CPU_LEVEL as the
// name of the namespace its code stands in; a call picks the level of the machine at run time.
//
// What a kernel file may not do: instantiate standard templates with plain types (std::vector<float>), because the
// linker keeps one copy of those, which could be the AVX-512 one. Types and lambdas of the level's own namespace are
// fine; tests/cpp/check_levels.py looks at the symbols.
#pragma once

#include "parallel.h"

#if defined(__x86_64__) && !defined(REFINEDET_BASELINE_ONLY)
#define REFINEDET_X86_LEVELS 1
#else
#define REFINEDET_X86_LEVELS 0
#endif

namespace refinedet::cpu {

enum class Level { baseline, avx2, avx512 };

// The level in use: the best that the machine has, or what REFINEDET_EXT_CPU_LEVEL (baseline, avx2, avx512) asks for.
// Throws std::runtime_error if that is unknown or beyond the machine.
Level level();
const char* level_name(Level level);

}  // namespace refinedet::cpu

// Declares `void name(const Args&, const ParallelFor&)` at every level, and the call that picks one.
#if REFINEDET_X86_LEVELS
#define REFINEDET_CPU_KERNEL(name, Args)                            \
  namespace baseline {                                              \
  void name(const Args& args, const ParallelFor& parallel);         \
  }                                                                 \
  namespace avx2 {                                                  \
  void name(const Args& args, const ParallelFor& parallel);         \
  }                                                                 \
  namespace avx512 {                                                \
  void name(const Args& args, const ParallelFor& parallel);         \
  }                                                                 \
  inline void name(const Args& args, const ParallelFor& parallel) { \
    switch (level()) {                                              \
      case Level::avx512:                                           \
        return avx512::name(args, parallel);                        \
      case Level::avx2:                                             \
        return avx2::name(args, parallel);                          \
      default:                                                      \
        return baseline::name(args, parallel);                      \
    }                                                               \
  }
#else
#define REFINEDET_CPU_KERNEL(name, Args)                    \
  namespace baseline {                                      \
  void name(const Args& args, const ParallelFor& parallel); \
  }                                                         \
  inline void name(const Args& args, const ParallelFor& parallel) { baseline::name(args, parallel); }
#endif
