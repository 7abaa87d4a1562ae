// The op library itself: creates the namespace and the ops that tell about the build. Each op adds its own schema in
// a file of its own name.
#include "common.h"
#include "cpu/runtime/level.h"

namespace refinedet::torch_ops {
namespace {

int64_t cpu_level() { return static_cast<int64_t>(cpu::level()); }
int64_t multiplies_bfloat16() { return cpu::multiplies_bfloat16() ? 1 : 0; }
int64_t has_cuda() { return kWithCuda ? 1 : 0; }

// What holds without Python, which overrides it: it alone can ask torch.
bool convolutions_use_tf32_without_python() { return false; }

}  // namespace

STABLE_TORCH_LIBRARY(REFINEDET_LIBRARY, m) {
  m.def("_convolutions_use_tf32() -> bool");
  m.def("_cpu_level() -> int");
  m.def("_has_cuda() -> int");
  m.def("_multiplies_bfloat16() -> int");
}

STABLE_TORCH_LIBRARY_IMPL(REFINEDET_LIBRARY, CompositeExplicitAutograd, m) {
  m.impl("_convolutions_use_tf32", TORCH_BOX(&convolutions_use_tf32_without_python));
  m.impl("_cpu_level", TORCH_BOX(&cpu_level));
  m.impl("_has_cuda", TORCH_BOX(&has_cuda));
  m.impl("_multiplies_bfloat16", TORCH_BOX(&multiplies_bfloat16));
}

}  // namespace refinedet::torch_ops

extern "C" {

// Read by refinedet_ext.build_info() through ctypes.
__attribute__((visibility("default"))) const char* refinedet_ext_compiler() { return REFINEDET_COMPILER; }
__attribute__((visibility("default"))) const char* refinedet_ext_torch_built_with() { return REFINEDET_TORCH_VERSION; }
__attribute__((visibility("default"))) const char* refinedet_ext_torch_target() { return REFINEDET_TORCH_TARGET; }
}
