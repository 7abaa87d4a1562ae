from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from refinedet.classification.module import ClassificationModule
from refinedet.engine import OptimConfig
from refinedet.engine.base_module import NonFiniteLoss
from refinedet.structures import Batch, Unreadable


class Says(nn.Module):
    """A network with these answers."""

    def __init__(self, logits: torch.Tensor) -> None:
        super().__init__()
        self.logits = nn.Parameter(logits)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.logits[: len(images)]


def batch_of(labels: list[int], unreadable: tuple[int, ...] = (), first: int = 0) -> Batch:
    count = len(labels)
    ids = [f"{first + index}.png" for index in range(count)]
    return Batch(
        torch.zeros((count, 3, 4, 4), dtype=torch.uint8),
        torch.tensor([[0.0, 0.0, 1.0, 1.0]] * count),
        torch.tensor(labels),
        torch.arange(count + 1),
        torch.zeros(count, dtype=torch.bool),
        ids,
        ids,
        [(4, 4)] * count,
        [Unreadable(ids[index], "gone") for index in unreadable],
    )


def measured(logits: list[list[float]], *batches: Batch) -> dict[str, float]:
    module = ClassificationModule(Says(torch.tensor(logits)), OptimConfig())
    module._trainer = SimpleNamespace(world_size=1, training=False)
    module.log_dict = lambda *args, **kwargs: None
    module.on_validation_epoch_start()
    for batch in batches:
        module.validation_step(batch, 0)
    module.on_validation_epoch_end()
    return module.last_metrics


def test_accuracies():
    seven = torch.arange(7.0).tolist()  # class 7 first, class 1 last
    assert measured([seven] * 4, batch_of([7, 6, 3, 2])) == {"top1": 0.25, "top5": 0.75, "images": 4}


def test_equal_scores_and_such_that_are_no_numbers_are_not_right():
    logits = [[0.0] * 7, [float("nan")] * 7, [1.0, 1.0, *[0.0] * 5]]
    assert measured(logits, batch_of([1, 1, 1])) == {"top1": 0.0, "top5": 1 / 3, "images": 3}


def test_lost_images_are_mistakes_and_images_count_once():
    logits = [[1.0, *[0.0] * 6]] * 2
    found = measured(logits, batch_of([1, 1], unreadable=(0,)), batch_of([1], first=2), batch_of([1], first=2))
    assert found == {"top1": 2 / 3, "top5": 2 / 3, "images": 3}


def test_the_loss_is_the_smoothed_cross_entropy():
    logits = torch.tensor([[2.0, 0.0, -1.0], [0.0, 1.0, 0.0]])
    module = ClassificationModule(Says(logits), OptimConfig(), label_smoothing=0.3)
    module.log = lambda *args, **kwargs: None
    log_p = F.log_softmax(logits, dim=1)
    target = torch.full((2, 3), 0.1)
    target[0, 0] = target[1, 2] = 0.8
    torch.testing.assert_close(module.training_step(batch_of([1, 3]), 0), -(target * log_p).sum(1).mean())


def test_a_loss_that_is_no_number_names_the_images():
    module = ClassificationModule(Says(torch.full((2, 3), float("nan"))), OptimConfig())
    with pytest.raises(NonFiniteLoss, match="iteration 0 .*0.png, 1.png"):
        module.training_step(batch_of([1, 3]), 0)
