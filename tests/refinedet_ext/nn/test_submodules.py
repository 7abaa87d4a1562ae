"""A block uses its layers as layers: whoever listens to one, prunes it, parametrizes it or replaces it is heard."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.distributed.device_mesh
import torch.distributed.fsdp
from torch import nn
from torch.nn.utils import parametrizations, parametrize, prune
from torch.utils._python_dispatch import TorchDispatchMode

import refinedet_ext as rx

from .test_transfer_connection_block import plain, randomize

NORMS = ("none", "batch")


def make(norm: str) -> rx.nn.TransferConnectionBlock:
    torch.manual_seed(0)
    return randomize(rx.nn.TransferConnectionBlock(4, 8, norm=norm)).eval()


def maps() -> tuple[torch.Tensor, torch.Tensor]:
    return torch.randn(2, 4, 5, 6), torch.randn(2, 8, 3, 3)


class Fused(TorchDispatchMode):
    """Counts the calls of the op that computes several layers in one."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.calls += func is torch.ops.refinedet_ext.deconv_sum.default
        return func(*args, **kwargs or {})


def check(block, fused: bool) -> None:
    source, above = maps()
    with Fused() as counted:
        got = block(source, above)
    assert counted.calls == fused
    torch.testing.assert_close(got, plain(block, source, above), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("norm", NORMS)
def test_one_op_where_nobody_listens(norm):
    check(make(norm), fused=True)
    check(copy.deepcopy(make(norm)), fused=True)


SHARED = {
    "pruned": lambda layer: prune.l1_unstructured(layer, "weight", 0.5),
    "weight norm": lambda layer: parametrizations.weight_norm(layer),
    "spectral norm": lambda layer: parametrizations.spectral_norm(layer),
    "old weight norm": lambda layer: torch.nn.utils.weight_norm(layer),
    "scaled": lambda layer: parametrize.register_parametrization(layer, "weight", Scaled()),
}


class Scaled(nn.Module):
    def forward(self, weight):
        return weight * 0.5


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("how", SHARED)
def test_training_of_a_changed_deconvolution(norm, how):
    """Two steps with a result as from the layers, and gradients for the parameters behind the weight."""

    def changed():
        block = make(norm).train()
        torch.manual_seed(1)  # spectral norm starts at random
        SHARED[how](block.deconv)
        return block

    block, other = changed(), changed()
    source, above = maps()
    for _ in range(2):
        for model, run in ((block, block), (other, lambda s, a: plain(other, s, a))):
            model.zero_grad()
            run(source, above).square().sum().backward()
            torch.optim.SGD(model.parameters(), lr=1e-3).step()
    for (name, got), expected in zip(block.named_parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-5, msg=lambda text, name=name: f"{name}: {text}")
    check(block.eval(), fused=False)


@pytest.mark.parametrize("norm", NORMS)
def test_pruning_made_permanent_is_plain_again(norm):
    block = make(norm)
    prune.l1_unstructured(block.deconv, "weight", 0.5)
    prune.remove(block.deconv, "weight")
    check(block, fused=True)


HOOKS = {
    "forward": lambda layer, seen: layer.register_forward_hook(lambda m, i, o: seen.append(o.shape)),
    "forward_pre": lambda layer, seen: layer.register_forward_pre_hook(lambda m, i: seen.append(i[0].shape)),
    "backward": lambda layer, seen: layer.register_full_backward_hook(lambda m, i, o: seen.append(o[0].shape)),
    "backward_pre": lambda layer, seen: layer.register_full_backward_pre_hook(lambda m, o: seen.append(o[0].shape)),
    "every module's": lambda layer, seen: nn.modules.module.register_module_forward_hook(
        lambda m, i, o: seen.append(o.shape) if m is layer else None
    ),
}


@pytest.mark.parametrize(("norm", "layer"), [("none", "deconv"), ("batch", "deconv"), ("batch", "deconv_norm")])
@pytest.mark.parametrize("kind", HOOKS)
def test_hooks_see_the_call(norm, layer, kind):
    block, seen = make(norm), []
    handle = HOOKS[kind](getattr(block, layer), seen)
    try:
        source, above = maps()
        block(source, above.requires_grad_()).sum().backward()
    finally:
        handle.remove()
    assert len(seen) == 1
    check(block, fused=True)  # once the hook is gone


def test_what_a_hook_returns_counts():
    block = make("none")
    block.deconv.register_forward_hook(lambda module, inputs, output: torch.zeros_like(output))
    source, above = maps()
    assert torch.equal(block(source, above), block(source, torch.zeros_like(above)))


def test_an_exchanged_forward_counts():
    block = make("none")
    block.deconv.forward = lambda x: nn.ConvTranspose2d.forward(block.deconv, x) * 0
    check(block, fused=False)


LAYERS = {
    "no statistics": (lambda: nn.BatchNorm2d(8, track_running_stats=False), False),
    "no affine": (lambda: nn.BatchNorm2d(8, affine=False), True),
    "neither": (lambda: nn.BatchNorm2d(8, affine=False, track_running_stats=False), False),
    "group": (lambda: nn.GroupNorm(2, 8), False),
    "instance": (lambda: nn.InstanceNorm2d(8), False),
    "none": (nn.Identity, False),
}


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("kind", LAYERS)
def test_other_norms(kind, training):
    block, (layer, fused) = make("batch"), LAYERS[kind]
    for name in ("lateral1_norm", "lateral2_norm", "smooth_norm", "deconv_norm"):
        setattr(block, name, layer())
    if kind == "no affine":
        block.deconv_norm.running_mean.normal_()
        block.deconv_norm.running_var.uniform_(0.5, 2)
    check(block.train(training).eval() if not training else block.train(), fused=fused and not training)


def test_a_deconvolution_with_a_bias_before_a_norm():
    block = make("batch")
    block.deconv = nn.ConvTranspose2d(8, 8, 2, stride=2)
    check(block, fused=True)


@pytest.mark.parametrize(
    "deconv",
    [
        lambda: nn.ConvTranspose2d(8, 8, 2, stride=2, groups=2),
        lambda: nn.Sequential(nn.ConvTranspose2d(8, 8, 2, stride=2), nn.Dropout(0.0)),
        lambda: nn.Sequential(nn.Upsample(scale_factor=2), nn.Conv2d(8, 8, 1)),
    ],
)
def test_another_layer_in_its_place(deconv):
    block = make("none")
    block.deconv = deconv()
    check(block, fused=False)


def test_names_of_the_parameters_stay():
    """Those of checkpoints."""
    layers = ("deconv", "lateral1", "lateral2", "smooth")
    names = sorted(rx.nn.TransferConnectionBlock(4, 8).state_dict())
    assert names == [f"{layer}.{kind}" for layer in layers for kind in ("bias", "weight")]


@pytest.mark.parametrize("norm", NORMS)
def test_compiles_and_exports_in_one_graph_with_the_one_op(norm):
    block, inputs = make(norm), maps()
    compiled = torch.compile(block, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(*inputs), block(*inputs))
    for strict in (False, True):
        program = torch.export.export(block, inputs, strict=strict)
        assert any(node.target is torch.ops.refinedet_ext.deconv_sum.default for node in program.graph.nodes)
    prune.l1_unstructured(block.deconv, "weight", 0.5)
    torch.testing.assert_close(compiled(*inputs), block(*inputs))


@pytest.fixture
def one_process(tmp_path):
    torch.distributed.init_process_group("gloo", init_method=f"file://{tmp_path}/rendezvous", rank=0, world_size=1)
    yield torch.distributed.device_mesh.init_device_mesh("cpu", (1,))
    torch.distributed.destroy_process_group()


@pytest.mark.parametrize("norm", NORMS)
def test_sharding_of_single_layers(norm, one_process):
    sharded, whole = make(norm).train(), make(norm).train()
    torch.distributed.fsdp.fully_shard(sharded.deconv, mesh=one_process)
    torch.distributed.fsdp.fully_shard(sharded, mesh=one_process)
    source, above = maps()
    for _ in range(2):
        for block in (sharded, whole):
            block(source, above).square().sum().backward()
    for (name, got), expected in zip(sharded.named_parameters(), whole.parameters(), strict=True):
        grad = got.grad.full_tensor()
        torch.testing.assert_close(grad, expected.grad, rtol=1e-4, atol=1e-4, msg=lambda t, name=name: f"{name}: {t}")


@pytest.mark.parametrize("how", SHARED)
def test_of_the_deformable_layer(how):
    torch.manual_seed(0)
    layer = rx.nn.DeformAlign(4, 6, 3, padding=1)
    SHARED[how](layer)
    image, offset = torch.randn(1, 4, 5, 5), torch.randn(1, 18, 5, 5)
    for _ in range(2):
        out = layer(image, offset)
        out.square().sum().backward()
        expected = rx.deform_align(image, offset, layer.weight, layer.bias, padding=1)
        if how != "spectral norm":  # whose weight moves with every look at it
            torch.testing.assert_close(out, expected)
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in layer.parameters())
