#include "level.h"

#include <cstdlib>
#include <stdexcept>
#include <string>

namespace refinedet::cpu {
namespace {

Level best_level() {
#if REFINEDET_X86_LEVELS
  __builtin_cpu_init();
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi2");
  const bool avx512 = avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                      __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
                      __builtin_cpu_supports("avx512cd");
  return avx512 ? Level::avx512 : avx2 ? Level::avx2 : Level::baseline;
#else
  return Level::baseline;
#endif
}

Level choose_level() {
  const Level best = best_level();
  const char* wish = std::getenv("REFINEDET_EXT_CPU_LEVEL");
  if (wish == nullptr || *wish == '\0') {
    return best;
  }
  for (const Level level : {Level::baseline, Level::avx2, Level::avx512}) {
    if (std::string(wish) == level_name(level)) {
      if (level > best) {
        throw std::runtime_error(std::string("REFINEDET_EXT_CPU_LEVEL: this machine offers up to ") + level_name(best) +
                                 ", got " + wish);
      }
      return level;
    }
  }
  throw std::runtime_error(std::string("REFINEDET_EXT_CPU_LEVEL: expected baseline, avx2 or avx512, got ") + wish);
}

}  // namespace

Level level() {
  static const Level chosen = choose_level();
  return chosen;
}

const char* level_name(Level level) {
  switch (level) {
    case Level::avx512:
      return "avx512";
    case Level::avx2:
      return "avx2";
    default:
      return "baseline";
  }
}

bool multiplies_bfloat16() {
#if REFINEDET_X86_LEVELS
  // every processor with AMX has these too
  return level() == Level::avx512 && __builtin_cpu_supports("avx512bf16");
#else
  return false;
#endif
}

}  // namespace refinedet::cpu
