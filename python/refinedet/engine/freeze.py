"""Parts of a model that a run leaves as they are."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm


def freeze(model: nn.Module, prefixes: Sequence[str]) -> None:
    """Let the parameters of these modules, and of those in them, learn no more.

    prefixes: names of modules, such as "backbone" or "backbone.features.0". Their batch norms want `freeze_statistics`
    besides, whenever the model was set to training.

    ValueError names a module that there is not and those that there are; and refuses to freeze all there is to learn.
    """
    for prefix in prefixes:
        module = _module(model, prefix)
        if not any(True for _ in module.parameters()):
            raise ValueError(f"train.freeze: {prefix} has no parameters")
        module.requires_grad_(False)
    if prefixes and not any(parameter.requires_grad for parameter in model.parameters()):
        raise ValueError(f"train.freeze: {', '.join(prefixes)} leaves nothing to train")


def freeze_statistics(model: nn.Module, prefixes: Sequence[str]) -> None:
    """Set the batch norms of these modules to use their running statistics and leave them as they are.

    By name, as a module may have been replaced, for example by `nn.SyncBatchNorm`.
    """
    for prefix in prefixes:
        for module in _module(model, prefix).modules():
            if isinstance(module, _BatchNorm):
                module.eval()


def _module(model: nn.Module, name: str) -> nn.Module:
    modules = dict(model.named_modules())
    if not name or name not in modules:
        close = difflib.get_close_matches(name, list(modules), n=3)
        if not close:
            close = [child for child, module in model.named_children() if any(True for _ in module.parameters())]
        raise ValueError(f"train.freeze: the model has no module {name!r}; it has, for example, {', '.join(close)}")
    return modules[name]
