"""With REFINEDET_TEST_AS_AVX2 set, the tests see a processor with AVX2 and without AVX-512 or bfloat16 instructions.

`make test-avx2` sets it beside ATEN_CPU_CAPABILITY, ONEDNN_MAX_CPU_ISA and REFINEDET_EXT_CPU_LEVEL, by which torch,
oneDNN and our kernels hold back; what asks the processor itself is answered here.
"""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile

if "TORCHINDUCTOR_CACHE_DIR" not in os.environ:
    # A folder of this run and its workers for what torch.compile keeps: it knows that by the code alone, not by the
    # vectors that the code is for, and a run that was killed leaves half of a library there.
    cache = tempfile.mkdtemp(prefix="torchinductor_")
    os.environ["TORCHINDUCTOR_CACHE_DIR"] = cache
    atexit.register(shutil.rmtree, cache, ignore_errors=True)

if os.environ.get("REFINEDET_TEST_AS_AVX2"):
    import torch

    assert torch.backends.cpu.get_cpu_capability() == "AVX2", "expected ATEN_CPU_CAPABILITY=avx2"
    assert not torch.ops.mkldnn._is_mkldnn_bf16_supported(), "expected torch to refuse oneDNN's bfloat16 here"
    for name in ("_is_avx512_supported", "_is_avx512_bf16_supported", "_is_vnni_supported", "_is_amx_tile_supported"):
        if hasattr(torch.cpu, name):
            setattr(torch.cpu, name, lambda: False)
    if hasattr(torch.cpu, "get_capabilities"):
        truth = torch.cpu.get_capabilities()
        lacking = {name: False for name in truth if name.startswith(("avx512", "amx")) or "vnni" in name}
        torch.cpu.get_capabilities = lambda: {**truth, **lacking}
