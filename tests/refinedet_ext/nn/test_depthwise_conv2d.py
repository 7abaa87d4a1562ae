from __future__ import annotations

import copy
import pickle

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.utils import parametrizations, prune
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.checkpoint import checkpoint

from refinedet_ext.nn import DepthwiseConv2d

OURS = torch.ops.refinedet_ext._depthwise_conv2d_backward.default


class Counted(TorchDispatchMode):
    """How often our backward is called."""

    def __init__(self):
        super().__init__()
        self.calls = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.calls += func is OURS
        return func(*args, **kwargs or {})


def pair(channels=24, kernel=3, stride=1, padding=1, bias=True, **factory):
    """The layer, and torch's with the same values."""
    torch.manual_seed(0)
    ours = DepthwiseConv2d(channels, kernel, stride, padding, bias, **factory)
    plain = nn.Conv2d(channels, channels, kernel, stride, padding, groups=channels, bias=bias, **factory)
    plain.load_state_dict(ours.state_dict())
    return ours, plain


def image(channels=24, height=9, width=10, dtype=torch.float32):
    x = torch.randn(2, channels, height, width, generator=torch.Generator().manual_seed(1)).to(dtype)
    return x.contiguous(memory_format=torch.channels_last).requires_grad_()


def gradients(layer, x, *, autocast=False, call=None):
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        y = (call or layer)(x)
    grad = torch.linspace(-1, 1, y.numel(), dtype=y.dtype).reshape(y.shape)
    leaves = [t for t in (x, *layer.parameters()) if t.requires_grad]
    return y.detach(), torch.autograd.grad(y, leaves, grad)


def compare(ours, plain, x, calls, *, autocast=False, tolerance=1e-4):
    with Counted() as counted:
        y, grads = gradients(ours, x, autocast=autocast)
    assert counted.calls == calls
    wanted, wanted_grads = gradients(plain, x, autocast=autocast)
    assert torch.equal(y, wanted)
    for a, b in zip(grads, wanted_grads, strict=True):
        assert a.dtype == b.dtype
        torch.testing.assert_close(a, b, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize(
    ("kernel", "stride", "padding", "bias"), [(3, 1, 1, False), (3, 2, 1, True), (5, 2, 2, False), (7, 1, 0, True)]
)
def test_is_torchs_layer_with_our_gradients(kernel, stride, padding, bias):
    ours, plain = pair(kernel=kernel, stride=stride, padding=padding, bias=bias)
    assert isinstance(ours, nn.Conv2d) and ours.extra_repr() == plain.extra_repr()
    compare(ours, plain, image(), calls=1)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16])
def test_dtypes(dtype):
    ours, plain = pair(dtype=dtype)
    compare(ours, plain, image(dtype=dtype), calls=1, tolerance=0.05 if dtype.itemsize == 2 else 1e-12)


def test_autocast():
    ours, plain = pair()
    compare(ours, plain, image(), calls=1, autocast=True, tolerance=0.05)
    with torch.autocast("cpu", torch.bfloat16):
        assert ours(image()).dtype == torch.bfloat16
    compare(*pair(dtype=torch.float64), image(dtype=torch.float64), calls=1, autocast=True)


def test_only_the_gradients_that_are_wanted():
    ours, plain = pair()
    for layer in (ours, plain):
        layer.requires_grad_(False)
    compare(ours, plain, image(), calls=1)  # frozen weights
    for layer in (ours, plain):
        layer.weight.requires_grad_()
    compare(ours, plain, image().detach(), calls=1)  # the first layer of a network


def test_same_initial_values_as_torch():
    torch.manual_seed(3)
    ours = DepthwiseConv2d(8, 3)
    torch.manual_seed(3)
    plain = nn.Conv2d(8, 8, 3, groups=8)
    assert list(ours.state_dict()) == list(plain.state_dict())
    assert all(torch.equal(a, b) for a, b in zip(ours.parameters(), plain.parameters(), strict=True))


@pytest.mark.parametrize("cells", [(0, 1, 0, 1), (1, 1, 1, 1), (2, 0, 1, 3)])
@pytest.mark.parametrize("padding", [0, 1])
def test_padded_forward(cells, padding):
    ours, plain = pair(stride=2, padding=padding)
    x = image()
    with Counted() as counted:
        y, grads = gradients(ours, x, call=lambda x: ours.padded_forward(x, cells))
    wanted, wanted_grads = gradients(plain, x, call=lambda x: plain(F.pad(x, cells)))
    assert counted.calls == 1 and torch.equal(y, wanted)
    for a, b in zip(grads, wanted_grads, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4)
    with torch.no_grad():
        assert torch.equal(ours.padded_forward(x, cells), wanted)


def changed(**attributes):
    def change(layer):
        for name, value in attributes.items():
            setattr(layer, name, value)

    return change


@pytest.mark.parametrize(
    "change",
    [changed(dilation=(2, 2)), changed(stride=(1, 2)), changed(padding=(0, 1)), changed(padding="same")],
    ids=["dilation", "stride", "padding", "same"],
)
def test_a_layer_that_was_changed_is_torchs(change):
    ours, plain = pair()
    for layer in (ours, plain):
        change(layer)
    compare(ours, plain, image(), calls=0)


def test_other_layouts_are_torchs():
    ours, plain = pair()
    compare(ours, plain, image().detach().contiguous().requires_grad_(), calls=0)
    compare(ours, plain, image().detach()[0].requires_grad_(), calls=0)  # without a batch


def test_errors_are_torchs():
    ours, plain = pair()
    for wrong in (image(8), image(dtype=torch.float64), image(height=1).squeeze(2)):
        with pytest.raises(RuntimeError) as expected:
            plain(wrong)
        with pytest.raises(RuntimeError) as got:
            ours(wrong)
        assert str(got.value) == str(expected.value)


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("channels", (0, 3)),
        ("channels", ("8", 3)),
        ("kernel_size", (8, (3, 3))),
        ("stride", (8, 3, 0)),
        ("padding", (8, 3, 1, -1)),
    ],
)
def test_wrong_arguments(name, arguments):
    with pytest.raises((ValueError, TypeError), match=f"{name}: expected"):
        DepthwiseConv2d(*arguments)


def test_gradcheck_and_second_derivatives():
    ours, _ = pair(channels=3, stride=2, dtype=torch.float64)
    x = image(3, 4, 5, dtype=torch.float64)
    weights = (ours.weight, ours.bias)

    def call(x, weight, bias):
        # not functional_call: it swaps the parameters of the layer for plain tensors, which are served as well
        return torch.func.functional_call(ours, {"weight": weight, "bias": bias}, (x,))

    assert torch.autograd.gradcheck(call, (x, *weights))
    assert torch.autograd.gradgradcheck(call, (x, *weights))
    padded = lambda x: ours.padded_forward(x, (0, 1, 1, 2))  # noqa: E731
    assert torch.autograd.gradcheck(padded, (x,)) and torch.autograd.gradgradcheck(padded, (x,))


def test_pruned_and_parametrized():
    for change in (lambda m: prune.l1_unstructured(m, "weight", 0.5), lambda m: parametrizations.weight_norm(m)):
        ours, plain = pair(bias=False)
        change(ours), change(plain)
        compare(ours, plain, image(), calls=1)


def test_hooks_are_called():
    ours, _ = pair()
    seen = []
    ours.register_forward_hook(lambda *_: seen.append("forward"))
    ours.register_full_backward_hook(lambda *_: seen.append("backward"))
    ours(image()).sum().backward()
    assert seen == ["forward", "backward"]


def test_checkpoint_and_saved_tensor_hooks():
    ours, plain = pair()
    x = image()
    _, wanted = gradients(plain, x)
    _, got = gradients(ours, x, call=lambda x: checkpoint(ours, x, use_reentrant=False))
    with torch.autograd.graph.saved_tensors_hooks(lambda t: t.clone(), lambda t: t):
        _, hooked = gradients(ours, x)
    for a, b, c in zip(got, hooked, wanted, strict=True):
        torch.testing.assert_close(a, c, rtol=1e-4, atol=1e-4)
        assert torch.equal(a, b)


def test_an_input_changed_before_backward_is_noticed():
    ours, _ = pair()
    x = image() * 1
    y = ours(x)
    x.add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.sum().backward()


def test_many_gradients_at_once():
    ours, plain = pair()
    x = image()
    grads = torch.randn(3, 2, 24, 9, 10)
    got, wanted = (
        torch.autograd.grad(layer(x), (x, layer.weight), grads, is_grads_batched=True) for layer in (ours, plain)
    )
    for a, b in zip(got, wanted, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4)


def test_without_gradients_the_call_is_torchs():
    ours, plain = pair()
    x = image()
    for mode in (torch.no_grad, torch.inference_mode):
        with mode():
            assert torch.equal(ours(x), plain(x))
    ours.requires_grad_(False)
    assert ours(x.detach()).grad_fn is None


def test_transforms_see_torchs_convolution():
    ours, plain = pair(channels=4)
    x = image(4).detach()
    values = dict(ours.named_parameters())

    def loss(layer):
        return lambda values, x: torch.func.functional_call(layer, values, (x,)).square().sum()

    for a, b in zip(
        torch.func.grad(loss(ours))(values, x).values(), torch.func.grad(loss(plain))(values, x).values(), strict=True
    ):
        assert torch.equal(a, b)
    tangent = torch.ones_like(x)
    jvp = [torch.func.jvp(lambda x: loss(layer)(values, x), (x,), (tangent,))[1] for layer in (ours, plain)]  # noqa: B023
    assert torch.equal(*jvp)


def test_compile_and_export_see_torchs_convolution():
    ours, plain = pair(channels=4)
    x = image(4)
    graphs = []

    def backend(graph, inputs):
        graphs.append(graph)
        return graph

    compiled = torch.compile(ours, backend=backend, fullgraph=True)
    assert torch.equal(compiled(x), plain(x))
    assert len(graphs) == 1
    nodes = [node.target for node in torch.export.export(ours, (x.detach(),)).graph.nodes]
    assert torch.ops.aten.conv2d.default in nodes


def test_copies():
    ours, plain = pair()
    for copied in (copy.deepcopy(ours), pickle.loads(pickle.dumps(ours))):
        compare(copied, plain, image(), calls=1)


def test_meta():
    layer = DepthwiseConv2d(8, 3, padding=1, device="meta")
    out = layer(torch.empty(1, 8, 4, 4, device="meta"))
    assert out.device.type == "meta" and out.requires_grad
