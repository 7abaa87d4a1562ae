// For tests of what kernels check of values that only they look at.
#pragma once

#include <string>

#include "cuda_on_host.h"

namespace refinedet::harness {

// Whether a GPU_CHECK with `what` in its message stops what `run` launches.
template <class F>
bool stopped_by(const char* what, const F& run) {
  try {
    run();
  } catch (const coh::error& error) {
    return std::string(error.what()).find(what) != std::string::npos;
  }
  return false;
}

}  // namespace refinedet::harness
