"""The plots are files with ink where it belongs; what cannot be drawn is an error."""

from __future__ import annotations

import cv2
import pytest

from refinedet.evaluation import (
    plot_precision_recall,
    plot_training_curves,
    plots,
    precision_recall_curves,
)

from .scenes import make_record, make_scene, make_truth


def _colored(path):
    """The share of pixels with a color, that is of lines: text, axes and grid are gray."""
    image = cv2.imread(str(path))
    assert image is not None and image.shape[1] > image.shape[0] // 2
    return ((image.max(2).astype(int) - image.min(2)) > 60).mean()


def test_precision_recall_of_a_scene(tmp_path):
    curves = precision_recall_curves(*make_scene(0))
    plot_precision_recall(curves, tmp_path / "new" / "pr.png", title="scene")
    assert 0.001 < _colored(tmp_path / "new" / "pr.png") < 0.2


@pytest.mark.parametrize("objects", [[], [(1, 1, [0, 0, 9, 9])]], ids=["no objects", "no detections"])
def test_precision_recall_of_nothing(tmp_path, objects):
    truth = make_truth(objects, images=[1])
    plot_precision_recall(precision_recall_curves(truth, []), tmp_path / "pr.png")
    assert (tmp_path / "pr.png").stat().st_size > 0
    plot_precision_recall({}, tmp_path / "none.png")
    assert (tmp_path / "none.png").stat().st_size > 0


def test_precision_recall_of_many_classes_keeps_its_size(tmp_path):
    names = [f"class number {i}" for i in range(80)]
    truth = make_truth([(1, i + 1, [0, 0, 9, 9]) for i in range(80)], names=names)
    record = make_record(1, *((i, 0.5, [0, 0, 9, 9]) for i in range(1, 60)))
    plot_precision_recall(precision_recall_curves(truth, [record]), tmp_path / "pr.png")
    assert cv2.imread(str(tmp_path / "pr.png")).shape[:2] == (650, 1040)


def test_training_curves(tmp_path):
    log = tmp_path / "metrics.csv"
    lines = ["epoch,step,train/loss,lr-SGD,val/AP"]
    lines += [f"{i // 20},{i},{5 - 0.05 * i},," for i in range(80)]
    lines += [f"{i // 20},{i},,{0.001 * i}," for i in range(0, 80, 20)]
    lines += ["0,19,,,0.1", "1,39,,,nan", "2,59,,,0.4"]
    log.write_text("\n".join(lines) + "\n")
    plot_training_curves(log, tmp_path / "curves.png")
    image = cv2.imread(str(tmp_path / "curves.png"))
    assert image.shape[0] > 2.5 * 300  # three panels
    assert 0.001 < _colored(tmp_path / "curves.png") < 0.2
    plot_training_curves(log, tmp_path / "few.png", columns=["train/loss"])
    assert cv2.imread(str(tmp_path / "few.png")).shape[0] < 1.5 * 300  # one panel


@pytest.mark.parametrize(
    ("column", "panel"),
    [
        ("train/arm_cls_loss", "loss"),
        ("val/AP50", "average precision"),
        ("mAP", "average precision"),
        ("top1", "accuracy"),
        ("stop1", "other"),
        ("ARs", "average recall"),
        ("lr-SGD", "learning rate"),
        ("train/lr", "learning rate"),
        ("images_per_second", "other"),
        ("already", "other"),
    ],
)
def test_panels(column, panel):
    assert plots._panel_of(column) == panel


def test_training_curves_name_what_is_wrong(tmp_path):
    log = tmp_path / "metrics.csv"
    log.write_text("epoch,step,loss\n0,1,2.5\n0,2,oops\n")
    with pytest.raises(ValueError, match=r"metrics\.csv: line 3: loss: .*oops"):
        plot_training_curves(log, tmp_path / "c.png")
    with pytest.raises(ValueError, match="x: no column 'time' in"):
        plot_training_curves(log, tmp_path / "c.png", x="time")
    log.write_text("epoch,step,loss\n0,1,2.5\n")
    with pytest.raises(ValueError, match=r"columns: no numbers under 'AP' in .* has \['epoch'"):
        plot_training_curves(log, tmp_path / "c.png", columns=["AP"])
    log.write_text("epoch,step,loss\n0,1,\n")
    with pytest.raises(ValueError, match="no numbers to draw beside 'step'"):
        plot_training_curves(log, tmp_path / "c.png")
    log.write_text("")
    with pytest.raises(ValueError, match="no column 'step'"):
        plot_training_curves(log, tmp_path / "c.png")
