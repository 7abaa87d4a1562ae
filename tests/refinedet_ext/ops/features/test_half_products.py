"""Products of half types where the processor would emulate them: they go through float32, and round once."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import refinedet_ext as rx

pytestmark = pytest.mark.cpu_only

# what each op gives in a half type, beside what it gives for the same numbers in float32
CODE = """
import torch, refinedet_ext as rx

assert torch.ops.refinedet_ext._multiplies_bfloat16() == 0
rng = torch.Generator().manual_seed(0)
random = lambda *shape: torch.randn(shape, generator=rng)
layouts = torch.contiguous_format, torch.channels_last


def check(name, op, tensors, dtype):
    halves = [t.to(dtype).requires_grad_() for t in tensors]
    wide = [t.detach().float().requires_grad_() for t in halves]
    for layout in layouts:
        order = lambda t: t.contiguous(memory_format=layout) if t.dim() == 4 else t
        results = [op(*map(order, leaves)) for leaves in (halves, wide)]
        upstream = random(*results[0].shape).to(dtype)
        grads = [torch.autograd.grad(y, x, upstream.to(y.dtype)) for y, x in zip(results, (halves, wide))]
        for i, (half, expected) in enumerate(zip((results[0], *grads[0]), (results[1], *grads[1]))):
            assert half.dtype == dtype
            # one rounding: 8 bits; a column that is rounded first differs by far more where what it meets cancels it
            rtol, atol = (2**-8, 1e-5) if dtype == torch.bfloat16 else (2**-11, 1e-5)
            torch.testing.assert_close(half.float(), expected, rtol=rtol, atol=atol, msg=lambda m: f"{name} {i}: {m}")


for dtype in (torch.bfloat16, torch.float16):
    # several images in a product, one large plane, several tiles of an image
    for b, ci, co, h, w in ((3, 40, 24, 5, 6), (2, 24, 150, 17, 21), (1, 16, 64, 40, 45)):
        tensors = random(b, ci, h, w), random(ci, co, 2, 2) / ci**0.5, random(co), random(b, co, 2 * h, 2 * w - 1)
        check("deconv_sum", rx.deconv_sum, tensors, dtype)
    tensors = random(2, 24, 9, 7), random(2, 18, 9, 7), random(20, 24, 3, 3) / 15, random(20)
    op = lambda x, offset, weight, bias: rx.deform_align(x, offset.float(), weight, bias, padding=1)
    check("deform_align", op, tensors, dtype)
print("checked")
"""


def run(code: str, level: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "REFINEDET_EXT_CPU_LEVEL": level}
    return subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True)


@pytest.mark.parametrize("level", ["baseline", "avx2"])
def test_half_types_multiply_in_float32_below_avx512(level):
    done = run(CODE, level)
    if "this machine offers up to" in done.stderr:
        pytest.skip(f"this machine has no {level}")
    assert done.returncode == 0 and done.stdout.split() == ["checked"], done.stderr


def test_multiplies_bfloat16_asks_the_processor():
    cpuinfo = Path("/proc/cpuinfo")
    if not cpuinfo.exists():
        pytest.skip("no /proc/cpuinfo to compare with")
    has_products = " avx512_bf16" in cpuinfo.read_text() and rx.build_info()["cpu_level"] == "avx512"
    assert torch.ops.refinedet_ext._multiplies_bfloat16() == has_products
