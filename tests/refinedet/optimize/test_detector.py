from __future__ import annotations

import copy

import pytest
import torch

import refinedet
from refinedet import optimize_for_inference
from refinedet.inference.multi_scale import MultiScale, Pass
from refinedet.optimize import machine

from .networks import FAMILIES, MODELS, WITH_WINOGRAD, assert_as_near, build, images


@pytest.mark.parametrize("name", MODELS)
def test_every_detector_gives_the_same_outputs(name):
    model = build(name)
    result = optimize_for_inference(model, dtype="float32")
    report = result.report
    assert_as_near(model, result, images(model), farther=WITH_WINOGRAD if report.winograd_convolutions else None)
    packs = machine.why_not_packed(torch.float32) is None
    assert (report.winograd_convolutions > 0) == (name == "refinedet320_vgg16" and packs)
    norms = sum(isinstance(m, torch.nn.BatchNorm2d) for m in model.modules())
    # the transfer connection blocks fold three of theirs themselves; Res2NetLite's first stands on the image
    in_blocks = 3 if getattr(model.config, "tcb_norm", "none") == "batch" else 0
    kept = 1 if name == "refinedetlite320_res2netlite72" else 0
    assert (report.kept_norms, report.folded_norms) == (kept, norms - in_blocks - kept)
    assert report.packed_convolutions > 20 or not packs
    assert report.operations[1] < report.operations[0]


@pytest.mark.parametrize("name", FAMILIES)
def test_in_bfloat16(name):
    model = build(name)
    assert_as_near(model, optimize_for_inference(model, dtype="bfloat16"), images(model), "bfloat16")


def test_without_packed_weights():
    model = build("efgrnet512_resnet101")
    result = optimize_for_inference(model, dtype="float32", prepack=False)
    assert_as_near(model, result, images(model))
    assert result.report.packed_convolutions == result.report.fused_activations == 0 < result.report.folded_norms


def test_without_winograd():
    model = build("refinedet320_vgg16")
    result = optimize_for_inference(model, dtype="float32", winograd=False)
    assert_as_near(model, result, images(model))
    assert result.report.winograd_convolutions == 0


class Odd(torch.nn.Module):
    """What a rewriting pass may take for something else: sums with a number and with a multiple, a transposed and a
    strided 1x1 convolution, two parts of one concatenation that are the same map."""

    def __init__(self, channels):
        super().__init__()
        self.first, self.second = (torch.nn.Conv2d(channels, channels, 3, padding=1) for _ in range(2))
        self.third = torch.nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.up = torch.nn.ConvTranspose2d(channels, channels, 2, 2)
        self.down = torch.nn.Conv2d(channels, channels, 1, 2)
        self.last = torch.nn.Conv2d(3 * channels, channels, 1)

    def forward(self, x):
        a = self.first(x).relu()
        b = self.second(a + 0.5)
        c = self.third(torch.add(a, b, alpha=0.25))
        return x + self.last(torch.cat((b, c, b), 1)) + self.down(self.up(c))


@pytest.mark.parametrize("default", [torch.float32, torch.float64], ids=str)
def test_what_the_rewriting_does_not_know_stays(default):
    model = build("refinedet320_small")
    (conv,) = model.arm.cls[:1]
    model.arm.cls[0] = torch.nn.Sequential(Odd(conv.in_channels), conv).requires_grad_(False).eval()
    before = torch.get_default_dtype()
    try:
        torch.set_default_dtype(default)
        result = optimize_for_inference(model, dtype="float32")
        outputs = result.head_outputs(images(model).float())
    finally:
        torch.set_default_dtype(before)
    assert_as_near(model, result, images(model), farther=WITH_WINOGRAD)
    assert all(t.dtype == torch.float32 for t in outputs[:4])
    assert result.report.plain_convolutions == 1


@pytest.mark.slow
def test_by_torch_compile(small):
    result = optimize_for_inference(small, dtype="float32", compile=True)
    assert_as_near(small, result, images(small))
    assert "torch.compile" in str(result.report)


def test_other_shapes_and_layouts(small, fast):
    for shape in ((3, 3, 128, 192), (1, 3, 64, 64), (1, 3, 128, 128)):
        x = torch.randn(shape) * 50
        assert_as_near(small, fast, x)
        first = fast.head_outputs(x)
        for other in (x.to(memory_format=torch.channels_last), x.double()):
            assert all(torch.equal(a, b) for a, b in zip(fast.head_outputs(other), first, strict=True))
    shapes = fast.report.input_shapes
    assert len(set(shapes)) == len(shapes) and (3, 3, 128, 192) in shapes


def test_detections_are_the_models(small, fast):
    x = images(small, 2)
    with torch.no_grad():
        expected, found = small(x), fast(x)
    assert torch.equal(found.count, expected.count) and int(found.count.min()) > 0
    torch.testing.assert_close(found.scores, expected.scores, rtol=1e-3, atol=1e-4)


def test_suppression_can_be_changed(small):
    result = optimize_for_inference(small, dtype="float32")
    result.nms = type(small.nms)(keep_top_k=3)
    assert result(images(small)).boxes.shape == (1, 3, 4) and small.nms.keep_top_k != 3


def test_the_model_stays_as_it_was():
    model = build("efgrnet320_small")
    model.requires_grad_(True)
    before = copy.deepcopy(model)
    result = optimize_for_inference(model, dtype="bfloat16")
    x = images(model)
    first = result.head_outputs(x)
    for (name, got), want in zip(model.state_dict().items(), before.state_dict().values(), strict=True):
        assert torch.equal(got, want), name
        assert got.is_contiguous()
    assert all(p.requires_grad for p in model.parameters())
    with torch.no_grad():  # and what happens to it later is its own
        for p in model.parameters():
            p.zero_()
    assert all(torch.equal(a, b) for a, b in zip(result.head_outputs(x), first, strict=True))


def test_results_are_usable_outside_inference_mode(small):
    with torch.inference_mode():
        result = optimize_for_inference(small, dtype="float32")
        result.head_outputs(images(small, 2))
    assert not any(t.is_inference() for t in result.head_outputs(images(small, 2))[:4])


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"dtype": "float16"}, ValueError, r"dtype: expected one of \['auto', 'float32', 'bfloat16'\], got 'float16'"),
        ({"compile": "yes"}, ValueError, r"compile: expected one of \[True, False\], got 'yes'"),
        ({"winograd": None}, ValueError, r"winograd: expected one of \[True, False\], got None"),
        ({"prepack": 2}, ValueError, r"prepack: expected one of \[True, False\], got 2"),
        ({"input_size": 100}, ValueError, "input_size: expected a multiple of 64, got 100"),
        ({"batch_size": 0}, ValueError, "batch_size: expected an integer of at least 1, got 0"),
    ],
)
def test_wrong_options_are_named(small, options, error, message):
    with pytest.raises(error, match=message):
        optimize_for_inference(small, **options)


def test_wrong_models_are_named(small, fast):
    with pytest.raises(TypeError, match=r"model: expected a refinedet\.Detector, got Linear"):
        optimize_for_inference(torch.nn.Linear(1, 1))
    with pytest.raises(TypeError, match="optimized already"):
        optimize_for_inference(fast)
    model = copy.deepcopy(small)
    model.backbone.train()
    with pytest.raises(ValueError, match=r"model: expected one in eval mode.*model\.eval\(\)"):
        optimize_for_inference(model)
    assert model.backbone.training
    with pytest.raises(ValueError, match="model: expected float32 parameters, got .* in torch.float64"):
        optimize_for_inference(copy.deepcopy(small).double())
    with torch.device("meta"):
        unloaded = refinedet.create_model("refinedet320_small", 4).eval()
    with pytest.raises(ValueError, match="model: expected its parameters on the CPU, got .* on meta"):
        optimize_for_inference(unloaded)


def test_what_an_optimized_detector_cannot_do(fast, tmp_path):
    with pytest.raises(RuntimeError, match="cannot be trained"):
        fast.train()
    with pytest.raises(RuntimeError, match="has no loss"):
        fast.loss(None, None)
    for change in (lambda: fast.to("cuda"), lambda: fast.half(), lambda: fast.to(torch.float64)):
        with pytest.raises(RuntimeError, match="stays on the CPU"):
            change()
    for change in (lambda: copy.deepcopy(fast), lambda: torch.save(fast, tmp_path / "x")):
        with pytest.raises(TypeError, match="cannot be copied or saved"):
            change()
    assert fast.eval() is fast and fast.to("cpu") is fast
    with pytest.raises(ValueError, match="images: expected a height that is a multiple of 64, got 65"):
        fast(torch.zeros(1, 3, 65, 64))


def test_the_predictor_takes_it(small):
    image = torch.randint(0, 256, (90, 160, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(2)).numpy()
    plain = refinedet.Predictor(copy.deepcopy(small))(image, score_threshold=0.0)
    predictor = refinedet.Predictor(copy.deepcopy(small), optimize="float32")
    assert predictor.model.report.dtype == "float32"
    found = predictor(image, score_threshold=0.0)
    assert len(found) == len(plain) > 0 and abs(found.scores - plain.scores).max() < 1e-3
    recipe = MultiScale((Pass(128, 128), Pass(192, 128)))
    assert len(refinedet.Predictor(small, optimize="float32", multi_scale=recipe)(image, score_threshold=0.0)) > 0
    with pytest.raises(ValueError, match="optimize: expected one of .*'off'.*, got 'fast'"):
        refinedet.Predictor(small, optimize="fast")
