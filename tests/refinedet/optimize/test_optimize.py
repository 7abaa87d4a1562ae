from __future__ import annotations

import copy

import pytest
import torch

import refinedet
from refinedet import optimize_for_inference
from refinedet.inference.multi_scale import MultiScale, Pass
from refinedet.optimize import machine
from tests.refinedet.detectors.efgrnet_models import TINY_RESNET

RES = {"backbone_depths": (1, 1, 1, 2), "backbone_width": 8, "tcb_channels": 16, "head_block_width": 8}
LIGHT = {"tcb_channels": 16}
# every family and every backbone, narrow; what the batch norms of each are
MODELS = {
    "refinedet320_vgg16": {"tcb_channels": 16},
    "refinedet320_small": {"tcb_channels": 16},
    "refinedet320_resnet101": RES,
    "refinedet512_resnext101": {**RES, "cardinality": 4, "group_width": 16},
    "refinedet320_mobilenet_v1": {"backbone_width": 0.25, **LIGHT},
    "refinedet320_mobilenet_v2": {"backbone_width": 0.25, **LIGHT},
    "refinedet320_mobilenet_v3": {"backbone_width": 0.25, **LIGHT},
    "refinedet320_shufflenet_v2": {"backbone_channels": (8, 16, 32, 64, 64), **LIGHT},
    "efgrnet320_small": {"fgrm_channels": 16},
    "efgrnet512_resnet101": TINY_RESNET,
    "padet320_small": {"decoder_channels": 16},
    "refinedetlite320_res2netlite72": {"width": 16, "head_channels": 32, "head_inner": 16},
}
FAMILIES = ("refinedet320_small", "efgrnet512_resnet101", "padet320_small", "refinedetlite320_res2netlite72")
# How much farther from float64 than the plain network in the same dtype: sums in another order, and folded weights
# (float32) or none of the roundings between a convolution and what is fused to it (bfloat16), move the error's size.
FARTHER = {"float32": 4.0, "bfloat16": 2.0}
WITH_WINOGRAD = 20.0  # its own error is about five times that of the usual sum


def build(name: str, **options):
    """With norms that do something, and heads whose outputs are of the order of 1."""
    torch.manual_seed(0)
    size = 64 if name == "refinedet320_vgg16" else 128
    model = refinedet.create_model(name, 4, **{"input_size": size, **MODELS[name], **options}).train()
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.momentum = 1.0
                module.weight.uniform_(0.5, 1.5)
                module.bias.normal_(0, 0.2)
        model.head_outputs(images(model, 4))
    return model.eval()


def images(model, count=1, size=None):
    size = size or model.config.input_size
    return torch.randn(count, 3, size, size, generator=torch.Generator().manual_seed(1)) * 50


def distance(outputs, expected):
    """Of raw outputs from those in float64: the largest difference per kind, in units of the kind's largest."""
    return [
        float((got - want).abs().max() / want.abs().max()) for got, want in zip(outputs[:4], expected[:4], strict=True)
    ]


def assert_as_near(model, result, x, dtype="float32", farther=None):
    """The optimized network is about as far from float64 as the model itself in this dtype."""
    with torch.no_grad():
        exact = copy.deepcopy(model).double().head_outputs(x.double())
        cast = getattr(torch, dtype)
        plain = copy.deepcopy(model).to(cast).head_outputs(x.to(cast))
    outputs = result.head_outputs(x)
    assert all(float(t.std()) > 1e-3 for t in exact[:4])
    for got, want in zip(outputs[:4], exact[:4], strict=True):
        assert got.dtype == torch.float32 and got.shape == want.shape
    for name, ours, theirs in zip(exact._fields, distance(outputs, exact), distance(plain, exact), strict=False):
        assert ours <= (farther or FARTHER[dtype]) * theirs + 1e-6, (
            f"{name}: off by {ours:.2g}, the plain network by {theirs:.2g}"
        )
    assert torch.equal(outputs.anchors, exact.anchors)


@pytest.fixture(scope="module")
def small():
    return build("refinedet320_small")


@pytest.fixture(scope="module")
def fast(small):
    return optimize_for_inference(small, dtype="float32")


@pytest.mark.parametrize("name", MODELS)
def test_every_detector_gives_the_same_outputs(name):
    model = build(name)
    result = optimize_for_inference(model, dtype="float32")
    report = result.report
    assert_as_near(model, result, images(model), farther=WITH_WINOGRAD if report.winograd_convolutions else None)
    assert (report.winograd_convolutions > 0) == (name == "refinedet320_vgg16" and machine.can_pack())
    norms = sum(isinstance(m, torch.nn.BatchNorm2d) for m in model.modules())
    # the transfer connection blocks fold three of theirs themselves; Res2NetLite's first stands on the image
    in_blocks = 3 if getattr(model.config, "tcb_norm", "none") == "batch" else 0
    kept = 1 if name == "refinedetlite320_res2netlite72" else 0
    assert (report.kept_norms, report.folded_norms) == (kept, norms - in_blocks - kept)
    assert report.packed_convolutions > 20 or not machine.can_pack()
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


def test_the_report_can_be_read(fast):
    text = str(fast.report)
    for part in ("refinedet320_small", "float32 (as asked for)", "channels-last", "folded into weights", "(1, 3, 128"):
        assert part in text


def test_auto_takes_bfloat16_where_the_cpu_has_it(small, monkeypatch):
    for has, name in ((True, "bfloat16"), (False, "float32")):
        monkeypatch.setattr(machine, "multiplies_bfloat16", lambda has=has: has)
        report = optimize_for_inference(small).report
        assert report.dtype == name and "bfloat16" in report.dtype_reason


def test_without_onednn_it_still_works(small, monkeypatch):
    monkeypatch.setattr(machine, "can_pack", lambda: False)
    result = optimize_for_inference(small, dtype="float32")
    assert_as_near(small, result, images(small))
    assert "no oneDNN" in str(result.report)


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
    picture = torch.randint(0, 256, (90, 160, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(2)).numpy()
    plain = refinedet.Predictor(copy.deepcopy(small))(picture)
    predictor = refinedet.Predictor(copy.deepcopy(small), optimize="float32")
    assert predictor.model.report.dtype == "float32"
    found = predictor(picture)
    assert len(found) == len(plain) > 0 and abs(found.scores - plain.scores).max() < 1e-3
    recipe = MultiScale((Pass(128, 128), Pass(192, 128)))
    assert len(refinedet.Predictor(small, optimize="float32", multi_scale=recipe)(picture)) > 0
    with pytest.raises(ValueError, match="optimize: expected one of .*'off'.*, got 'fast'"):
        refinedet.Predictor(small, optimize="fast")
