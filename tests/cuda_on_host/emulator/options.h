// How kernels are run, and what is thrown when one goes wrong.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <stdexcept>

#include "sanitizers.h"

namespace coh {

enum Order { Forward, Reverse, Random };  // in which threads, and blocks, get their turns

struct Options {
  int workers = 1;  // operating-system threads, each with a block at a time
  int order = Forward;
  uint64_t seed = 1;          // of a random order
  int yield_percent = 0;      // how often a thread gives up its turn at an atomic operation
  int fill = 0xFB;            // the bytes of fresh shared memory
  size_t shared = 227 << 10;  // bytes that a block may have of it, as on a large GPU
  int capability = 90;        // what kernels' launchers are told
#if defined(COH_ASAN) || defined(COH_TSAN)
  size_t stack = 256 << 10;  // bytes per CUDA thread
#else
  size_t stack = 64 << 10;
#endif
};

// A kernel did what no GPU defines, or was stopped.
struct error : std::runtime_error {
  using std::runtime_error::runtime_error;
};

// The options of the launches that follow. The environment gives the first ones: COH_WORKERS, COH_ORDER (forward,
// reverse or random), COH_SEED, COH_YIELD, COH_FILL, COH_SHARED_KB, COH_STACK_KB.
inline Options& options() {
  static Options chosen = [] {
    const auto number = [](const char* name, long otherwise) {
      const char* text = getenv(name);
      return text != nullptr ? strtol(text, nullptr, 0) : otherwise;
    };
    Options o;
    o.workers = static_cast<int>(number("COH_WORKERS", o.workers));
    o.seed = static_cast<uint64_t>(number("COH_SEED", static_cast<long>(o.seed)));
    o.yield_percent = static_cast<int>(number("COH_YIELD", o.yield_percent));
    o.fill = static_cast<int>(number("COH_FILL", o.fill));
    o.shared = static_cast<size_t>(number("COH_SHARED_KB", static_cast<long>(o.shared >> 10))) << 10;
    o.stack = static_cast<size_t>(number("COH_STACK_KB", static_cast<long>(o.stack >> 10))) << 10;
    if (const char* order = getenv("COH_ORDER")) {
      o.order = order[0] == 'f' ? Forward : order[0] == 'r' && order[1] == 'e' ? Reverse : Random;
    }
    return o;
  }();
  return chosen;
}

}  // namespace coh
