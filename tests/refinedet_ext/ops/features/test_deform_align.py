from __future__ import annotations

import math
import subprocess
import sys

import pytest
import torch
from torch.nn import functional as F

import refinedet_ext as rx

from .deform_inputs import CASES, assert_near, make, off_grid

OP = torch.ops.refinedet_ext.deform_align.default
DTYPES = [torch.float32, torch.float64, torch.float16, torch.bfloat16]
LAYOUTS = [torch.contiguous_format, torch.channels_last]

every_dtype = pytest.mark.parametrize("dtype", DTYPES, ids=lambda d: str(d)[6:])
every_layout = pytest.mark.parametrize("layout", LAYOUTS, ids=lambda f: str(f)[6:])


def shifts(values, size=(1, 1)):
    """(1, 2, *size) center shifts: (dy, dx) everywhere."""
    return torch.tensor(values, dtype=torch.float32).reshape(1, 2, 1, 1).expand(1, 2, *size)


@every_layout
@every_dtype
@pytest.mark.parametrize("case", CASES)
def test_agrees_with_reference(rng, case, dtype, layout):
    inputs = make(rng, dtype=dtype, layout=layout, **CASES[case])
    got = inputs()
    assert got.dtype == dtype
    assert got.is_contiguous(memory_format=layout)
    assert_near(got, inputs.double()(rx.reference.deform_align), dtype)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_types_keep_float32_positions(rng, dtype):
    inputs = make(rng, size=(2, 600), dtype=dtype, map_dtype=torch.float32, spread=0.0)
    assert_near(inputs(), inputs.double()(rx.reference.deform_align), dtype)


@every_layout
@pytest.mark.parametrize("case", ["none", "strides", "groups", "even kernel"])
def test_zero_offsets_are_a_convolution(rng, case, layout):
    inputs = make(rng, layout=layout, **CASES[case])
    expected = F.conv2d(
        inputs.input.double(),
        inputs.weight.double(),
        inputs.bias.double(),
        groups=CASES[case].get("groups", 1),
        **inputs.steps,
    )
    zero = inputs.map(lambda n, t: torch.zeros_like(t) if n in ("offset", "center") else t)
    zero.mask = None
    assert_near(zero(), expected, torch.float32)


@pytest.mark.parametrize("offset_groups", [1, 2])
def test_center_is_an_offset_of_every_tap(rng, offset_groups):
    inputs = make(rng, offset_groups=offset_groups, kernel=(3, 2), maps="center mask")
    got = inputs()
    batch, _, height, width = inputs.center.shape
    per_group = inputs.center.reshape(batch, offset_groups, 1, 2, height, width)
    inputs.offset = per_group.expand(-1, -1, 6, -1, -1, -1).reshape(batch, -1, height, width)
    inputs.center = None
    assert torch.equal(got, inputs())


def test_offset_channels_are_dy_dx_per_tap():
    image = torch.arange(25.0).reshape(1, 1, 5, 5)
    weight = torch.zeros(1, 1, 3, 3)
    weight[0, 0, 0, 2] = 1  # tap 2: one row above, one column to the right
    offset = torch.zeros(1, 18, 3, 3)
    offset[:, 4], offset[:, 5] = 2, -1
    got = rx.deform_align(image, offset, weight)
    assert torch.equal(got, image[:, :, 2:, 1:4])


def test_strided_arguments(rng):
    inputs = make(rng, channels=8, size=(8, 8), offset_groups=2)
    expected = inputs()

    def strided(name, tensor):
        wide = torch.stack([tensor, torch.full_like(tensor, math.nan)], dim=-1)[..., 0]
        assert tensor.numel() == 1 or not wide.is_contiguous()
        return wide

    assert torch.equal(inputs.map(strided)(), expected)
    maps_last = inputs.map(lambda n, t: t.to(memory_format=torch.channels_last) if t.dim() == 4 and n != "input" else t)
    assert torch.equal(maps_last(), expected)
    inputs.input = inputs.input[:1].expand(2, -1, -1, -1)
    assert torch.equal(inputs(), inputs.map(lambda _, t: t.clone(memory_format=torch.contiguous_format))())


@every_layout
def test_images_do_not_mix(rng, layout):
    inputs = make(rng, batch=11, channels=16, size=(5, 6), layout=layout)
    alone = [inputs.map(lambda n, t, b=b: t if n in ("weight", "bias") else t[b : b + 1])() for b in range(11)]
    assert_near(inputs(), torch.cat(alone).double(), torch.float32)


@pytest.mark.parametrize("groups", [1, 2])
def test_large_contiguous_image_is_taken_by_channels(rng, groups):
    # 43 MB: above what is copied to channels-last at once
    inputs = make(
        rng, batch=1, channels=2600, size=(64, 64), out_channels=2, kernel=(1, 2), stride=(9, 9), groups=groups
    )
    assert_near(inputs(), inputs.double()(rx.reference.deform_align), torch.float32)


@every_layout
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=lambda d: str(d)[6:])
def test_large_image_of_a_half_type_is_read_as_it_is(rng, dtype, layout):
    # 42 MB in float32, and channels that end within a register
    inputs = make(
        rng, batch=1, channels=85, size=(352, 352), out_channels=2, stride=(40, 40), dtype=dtype, layout=layout
    )
    assert_near(inputs(), inputs.double()(rx.reference.deform_align), dtype)


@pytest.mark.cpu_only
@every_layout
@pytest.mark.parametrize("case", ["plain", "offset", "one tap", "one channel", "strides"])
def test_the_same_with_and_without_gradients(rng, case, layout):
    inputs = make(rng, layout=layout, **CASES[case])
    leaves = inputs.leaves()
    expected = leaves()
    assert expected.requires_grad and torch.equal(inputs(), expected)
    for mode in (torch.no_grad(), torch.inference_mode()):
        with mode:
            assert not leaves().requires_grad
            assert torch.equal(leaves(), expected)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert inputs().dtype == torch.bfloat16


def test_few_pixels_for_many_output_channels(rng):
    """There the columns are brought into the weights' order; a bias is added afterwards."""
    for layout in LAYOUTS:
        for dtype in (torch.float32, torch.float64, torch.bfloat16):
            shapes = {"batch": 2, "channels": 24, "size": (3, 4), "out_channels": 48, "groups": 2, "offset_groups": 3}
            inputs = make(rng, layout=layout, dtype=dtype, **shapes)
            assert_near(inputs(), inputs.double()(rx.reference.deform_align), dtype)


def test_outside_reads_zero():
    image = torch.ones(1, 3, 4, 5)
    weight = torch.ones(2, 3, 1, 1)
    for y, x in [(-1, 0), (4, 0), (0, -1), (0, 5), (-1e4, 0), (0, 1e30), (math.inf, 0), (0, -math.inf), (math.nan, 0)]:
        offset = shifts((y, x)).repeat(1, 1, 4, 5)
        offset -= torch.nan_to_num(torch.stack(torch.meshgrid(torch.arange(4.0), torch.arange(5.0), indexing="ij")))
        got = rx.deform_align(image, offset, weight, torch.tensor([1.0, 2.0]))
        assert torch.equal(got[0, 0], torch.ones(4, 5)) and torch.equal(got[0, 1], torch.full((4, 5), 2.0)), (y, x)
    inside = [(-0.75, 0, 0.25), (3.75, 0, 0.25), (0, -0.5, 0.5), (0, 4.5, 0.5), (-0.5, -0.5, 0.25), (3.5, 4.5, 0.25)]
    for y, x, share in inside:
        got = rx.deform_align(image[:, :1], shifts((y, x)), torch.ones(1, 1, 4, 5)[:, :, :1, :1], stride=9)
        assert got.item() == share, (y, x)


def test_one_bad_offset_spoils_nothing_else(rng):
    inputs = make(rng, maps="offset", batch=1)
    expected = inputs()
    inputs.offset[0, 7, 3, 4] = math.nan
    got = inputs()
    assert got.isfinite().all()
    got[0, :, 3, 4] = expected[0, :, 3, 4]
    assert torch.equal(got, expected)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=lambda d: str(d)[6:])
def test_any_nan_in_a_mask_gives_nan(rng, dtype):
    inputs = make(rng, maps="mask", kernel=(1, 1), padding=(0, 0), bias=False, dtype=dtype, map_dtype=torch.float32)
    bits = torch.tensor([0x7FFFFFFF, 0x7F800001, -1, 0x7FC00000], dtype=torch.int32)
    inputs.mask[0, 0, 0, :4] = bits.view(torch.float32)
    isnan = inputs().isnan()
    assert isnan[0, :, 0, :4].all() and isnan.sum() == 4 * isnan.shape[1]


def test_infinities_that_no_tap_reads():
    image = torch.tensor([math.inf, 1.0, math.inf]).reshape(1, 1, 3, 1)  # on both edges of the map
    weight = torch.ones(1, 1, 1, 1)
    got = rx.deform_align(image, None, weight, center=shifts((-0.5, 0.5), (3, 1)))
    assert got.flatten().tolist() == [math.inf, math.inf, math.inf]
    assert rx.deform_align(image, None, weight, center=shifts((-9.0, 0.0), (3, 1))).eq(0).all()
    assert rx.deform_align(image, None, weight, center=shifts((0.0, 1.0), (3, 1))).eq(0).all()
    assert rx.deform_align(image[:, :, 1:2], None, weight, center=shifts((0.5, 0.5))).item() == 0.25


def test_float16_result_that_is_too_large(kernels):
    got = rx.deform_align(torch.full((1, 2, 1, 1), 6e4).half(), None, torch.ones(1, 2, 1, 1).half())
    assert got.item() == (65504 if kernels == "cpu" else math.inf)


@every_layout
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_empty(layout, dtype):
    def run(batch, channels_out, height, kernel=1, padding=0):
        image = torch.ones(batch, 2, height, 3, dtype=dtype).contiguous(memory_format=layout)
        weight, bias = torch.ones(channels_out, 2, kernel, 1, dtype=dtype), torch.ones(channels_out, dtype=dtype)
        out_height = height + 2 * padding - kernel + 1
        offset = torch.zeros(batch, 2 * kernel, out_height, 3 + 2 * padding, dtype=dtype)
        return rx.deform_align(image, offset, weight, bias, padding=padding)

    assert run(0, 4, 3).shape == (0, 4, 3, 3)
    assert run(2, 0, 3).shape == (2, 0, 3, 3)
    assert run(2, 4, 0).shape == (2, 4, 0, 3)
    assert run(2, 4, 1, kernel=2).shape == (2, 4, 0, 3)
    assert torch.equal(run(2, 4, 0, padding=1), torch.ones(2, 4, 2, 5, dtype=dtype))


def whole_numbers(rng, **kwargs):
    """Inputs whose every sum is exact in float32, in whatever order."""
    inputs = make(rng, **kwargs)

    def exact(name, tensor):
        scale = 4 if name in ("offset", "center", "mask") else 1
        return (tensor.detach() * scale).round() / scale

    return inputs.map(exact)


@every_layout
def test_threads_give_the_same_bits(rng, layout):
    inputs = whole_numbers(rng, channels=40, size=(40, 40), out_channels=24, layout=layout)
    before = torch.get_num_threads()
    results = []
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            results.append(inputs())
    finally:
        torch.set_num_threads(before)
    assert_near(results[0], inputs.double()(rx.reference.deform_align), torch.float32)
    assert torch.equal(results[0], results[1]) and torch.equal(results[0], results[2])


@every_layout
@pytest.mark.cpu_only
@pytest.mark.parametrize("case", ["plain", "offset", "center", "mask", "groups"])
def test_opcheck(rng, case, layout):
    inputs = make(rng, layout=layout, **CASES[case]).leaves()
    arguments = (inputs.input, inputs.weight, inputs.offset, inputs.center, inputs.mask, inputs.bias)
    torch.library.opcheck(OP, (*arguments, *(list(step) for step in inputs.steps.values())))


class Aligned(torch.nn.Module):
    def __init__(self, weight):
        super().__init__()
        self.weight = torch.nn.Parameter(weight)

    def forward(self, image, offset, center):
        return rx.deform_align(image, offset, self.weight, padding=1, center=center).relu()


@every_layout
@pytest.mark.cpu_only
def test_compile_and_export(rng, layout):
    inputs = make(rng, layout=layout, batch=3)
    module, arguments = Aligned(inputs.weight), (inputs.input, inputs.offset, inputs.center)
    expected = module(*arguments)
    compiled = torch.compile(module, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(*arguments), expected)
    gradient = torch.autograd.grad(expected.sum(), module.weight)
    torch.testing.assert_close(torch.autograd.grad(compiled(*arguments).sum(), module.weight), gradient)
    batch = torch.export.Dim("batch")
    program = torch.export.export(module, arguments, dynamic_shapes=({0: batch},) * 3).module()
    more = [t.repeat(2, 1, 1, 1).contiguous(memory_format=layout) for t in arguments]
    torch.testing.assert_close(program(*more), expected.repeat(2, 1, 1, 1))


def test_meta_tensors(rng):
    inputs = make(rng, layout=torch.channels_last, stride=(2, 1))
    got = inputs.map(lambda _, t: t.to("meta"))()
    assert got.shape == inputs().shape and got.is_contiguous(memory_format=torch.channels_last)


def test_autocast_lowers_all_but_the_maps(rng):
    inputs = make(rng, size=(30, 30))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        got = inputs()
    assert got.dtype == torch.bfloat16
    low = inputs.map(lambda n, t: t.bfloat16() if n in ("input", "weight", "bias") else t)
    assert torch.equal(got, low())
    low.input = low.input.float()  # as the layer before gave it, beside float32 parameters
    inputs.input = low.input.bfloat16()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(inputs(), got)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert inputs.double()().dtype == torch.float64


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_memory_beside_the_result():
    program = """
import torch, refinedet_ext as rx

def memory(line):  # kB
    return next(int(row.split()[1]) for row in open("/proc/self/status") if row.startswith(line))

image, weight = torch.ones(1, 256, 256, 256), torch.ones(256, 256, 1, 1)
offset = torch.zeros(1, 2, 256, 256)
rx.deform_align(image[..., :8, :8].contiguous(), None, weight)  # loads the libraries
before = memory("VmRSS")
out = rx.deform_align(image, offset, weight)
assert out[0, 0, 0, 0] == 256
print((memory("VmHWM") - before - out.nbytes // 1024) // 1024)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 64


def test_off_grid_inputs_are_off_the_grid(rng):
    fraction = (off_grid(1000, rng=rng) + off_grid(1000, rng=rng)) % 1
    assert fraction.min() > 0.15 and fraction.max() < 0.85
