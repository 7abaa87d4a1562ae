// Several instruction sets in one binary. Each kernel file is compiled once per level, with REFINEDET_CPU_LEVEL as the
// name of the namespace its code stands in; a call picks the level of the machine at run time.
//
// What a kernel file may not do: instantiate standard templates with plain types (std::vector<float>), because the
// linker keeps one copy of those, which could be the AVX-512 one. Types and lambdas of the level's own namespace are
// fine; tests/csrc/check_levels.py looks at the symbols.
#pragma once

#include "core/parallel.h"

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

// Whether bfloat16 products are fast: the machine has instructions for them, and the level in use is its best.
// Elsewhere they are emulated, and float32 is faster.
bool multiplies_bfloat16();

// A kernel at one level. Its file specializes this for its arguments and `kLevel`, so once per level; kernels.cpp has
// the functions that pick one.
template <Level, class Args>
void kernel(const Args& args, const ParallelFor& parallel);

#if defined(REFINEDET_CPU_LEVEL)
inline constexpr Level kLevel = Level::REFINEDET_CPU_LEVEL;  // of the file that is being compiled
#endif

}  // namespace refinedet::cpu
