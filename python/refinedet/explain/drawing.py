"""An explanation as pictures, by Matplotlib without a display."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..figures import INK, new_figure
from .explanation import ExplainedObject, Explanation
from .levels import Level

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PANEL = 3.2  # inches a panel is wide
ANCHOR, REFINED, BOX = "#ffffff", "#35d0ff", "#ffd400"
_EDGE = "#101010"
_MARGIN = 0.6  # of an object's larger side, shown around it


def write_pictures(explanation: Explanation, folder: Path) -> list[Path]:
    """Draws every view that there is into a PNG file of its own and returns them; the folder must be there.

    objectness.png: the first stage's scores over the image, a panel for each level. filtering.png: where anchors pass
    the filter. features.png: how strong the maps are that the heads read. objects.png: each explained detection with
    its anchor, before and after the refinement, and its sampling points. sampling.png: the sampling points of all of
    them on the image. The first is left out without a scored first stage, the fourth without objects, the last without
    sampling points.
    """
    views: list[tuple[str, bool, Callable[[Explanation], Figure]]] = [
        ("objectness.png", explanation.objectness is not None, draw_objectness),
        ("filtering.png", explanation.objectness is not None, draw_filtering),
        ("features.png", True, draw_features),
        ("objects.png", bool(explanation.objects), draw_objects),
        ("sampling.png", any(one.points is not None for one in explanation.objects), draw_sampling),
    ]
    written = []
    for name, there, draw in views:
        if there:
            draw(explanation).savefig(folder / name)
            written.append(folder / name)
    return written


def draw_objectness(explanation: Explanation) -> Figure:
    """The detections, and the largest object probability of every cell as a heat map over the image, level by level."""
    maps = explanation.objectness
    if maps is None:
        raise ValueError("explanation: expected one of a detector whose first stage gives scores")
    figure, panels = _panels(explanation, 1 + len(maps), beside=0.9)
    _show(panels[0], explanation, "detections that are explained")
    for one in explanation.objects:
        _rectangle(panels[0], one.box, BOX, 1.8)
    for level, values, axes in zip(explanation.levels, maps, panels[1:], strict=True):
        _show(axes, explanation, f"{_name(level)}, largest {values.max():.2f}", gray=True)
        heat = axes.imshow(
            values, cmap="inferno", vmin=0, vmax=1, alpha=0.35 + 0.6 * values, extent=_extent(explanation, level)
        )
        _limit(axes, explanation)
    bar = figure.colorbar(_opaque(heat), ax=list(panels), shrink=0.6, aspect=30, pad=0.01)
    bar.set_label("probability of an object, first stage", color=INK, fontsize=9)
    bar.ax.tick_params(labelsize=8, colors=INK)
    return figure


def draw_filtering(explanation: Explanation) -> Figure:
    """The image where anchors pass the filter of easy negatives, dark where none of a cell's does, level by level."""
    figure, panels = _panels(explanation, len(explanation.levels))
    for level, kept, axes in zip(explanation.levels, explanation.kept, panels, strict=True):
        passed = int(kept.sum())
        _show(axes, explanation, f"{_name(level)}: {passed:,} of {level.anchors:,} anchors pass")
        dark = np.zeros((*kept.shape, 4))
        dark[..., 3] = np.where(kept > 0, 0.0, 0.8)
        axes.imshow(dark, extent=_extent(explanation, level), interpolation="nearest")
        _limit(axes, explanation)
    total = sum(int(kept.sum()) for kept in explanation.kept)
    anchors = sum(level.anchors for level in explanation.levels)
    figure.suptitle(
        f"{total:,} of {anchors:,} anchors ({total / anchors:.1%}) with background at most {explanation.theta:g}",
        color=INK,
        fontsize=11,
    )
    return figure


def draw_features(explanation: Explanation) -> Figure:
    """How strong the maps are that the heads of each stage read, each from its weakest cell to its strongest."""
    stages = explanation.features
    count = len(explanation.levels)
    figure, panels = _panels(explanation, count * len(stages), columns=count, width=2.6)
    for (stage, maps), row in zip(stages.items(), np.reshape(panels, (len(stages), count)), strict=True):
        for level, values, axes in zip(explanation.levels, maps, row, strict=True):
            _show(axes, explanation, f"{stage}, {_name(level)}")
            axes.imshow(values, cmap="viridis", extent=_extent(explanation, level), interpolation="nearest")
            _limit(axes, explanation)
    figure.suptitle("strength of the features: root mean square over the channels", color=INK, fontsize=11)
    return figure


def draw_objects(explanation: Explanation) -> Figure:
    """Every explained detection by itself: its anchor, where the first stage moved it, its box, its sampling points."""
    objects = explanation.objects
    figure, panels = _panels(explanation, len(objects), columns=min(3, len(objects)), square=True)
    for one, axes in zip(objects, panels, strict=True):
        level = explanation.levels[one.level]
        _show(axes, explanation, f"{one.name} {one.score:.2f}, {_name(level)}, objectness {one.objectness:.2f}")
        _rectangle(axes, one.anchor, ANCHOR, 1.4, dashed=True)
        _rectangle(axes, one.refined, REFINED, 1.6)
        _rectangle(axes, one.box, BOX, 2.0)
        if one.points is not None:
            _points(axes, one, _color(explanation, one.level), size=26)
        _zoom(axes, one)
    labels = {"tiled anchor": ANCHOR, "refined anchor": REFINED, "detection": BOX}
    handles = [_line(color, dashed=name == "tiled anchor") for name, color in labels.items()]
    names = list(labels)
    if any(one.points is not None for one in objects):
        handles.append(_dot("#ff5fa2"))
        names.append("sampling points (line: from where they would be without offsets)")
    _legend(figure, handles, names)
    return figure


def draw_sampling(explanation: Explanation) -> Figure:
    """Where the alignment reads the features of the explained detections, a color for each level."""
    figure, panels = _panels(explanation, 1, width=7.5)
    (axes,) = panels
    _show(axes, explanation, "")
    shown = [one for one in explanation.objects if one.points is not None]
    for one in shown:
        color = _color(explanation, one.level)
        _rectangle(axes, one.box, color, 1.6)
        _points(axes, one, color, size=22)
    levels = sorted({one.level for one in shown})
    _legend(
        figure,
        [_dot(_color(explanation, i)) for i in levels],
        [_name(explanation.levels[i]) for i in levels],
        title="sampling points of the deformable alignment",
    )
    return figure


def _panels(
    explanation: Explanation,
    count: int,
    *,
    columns: int | None = None,
    width: float = PANEL,
    square: bool = False,
    beside: float = 0.0,
) -> tuple[Figure, list[Any]]:
    """A figure with so many panels in the shape of the image, and `beside` inches at their right."""
    columns = columns or (2 if count == 4 else min(count, 3 if count <= 6 else 4))
    rows = math.ceil(count / columns)
    height, across = explanation.image.shape[:2]
    shape = 1.0 if square else min(max(height / across, 0.4), 2.0)
    figure = new_figure(columns * width + beside, rows * (width * shape + 0.3) + 0.35)
    grid = figure.subplots(rows, columns, squeeze=False).ravel().tolist()
    for axes in grid[count:]:
        axes.set_visible(False)
    return figure, grid[:count]


def _show(axes: Axes, explanation: Explanation, title: str, *, gray: bool = False) -> None:
    """The image, in its own pixels, without ticks."""
    pixels = explanation.image[:, :, ::-1]
    height, width = pixels.shape[:2]
    if gray:
        pixels = np.repeat(pixels.mean(axis=2, keepdims=True), 3, axis=2).astype(np.uint8)
    axes.imshow(pixels, extent=(0, width, height, 0))
    axes.set_title(title, fontsize=9, color=INK)
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(False)
    _limit(axes, explanation)


def _limit(axes: Axes, explanation: Explanation) -> None:
    height, width = explanation.image.shape[:2]
    axes.set_xlim(0, width)
    axes.set_ylim(height, 0)


def _extent(explanation: Explanation, level: Level) -> tuple[float, float, float, float]:
    """Where a map lies on the image, for imshow; its last cells may hang over the border."""
    height, width = explanation.image.shape[:2]
    return (0, level.columns * level.step[0] * width, level.rows * level.step[1] * height, 0)


def _zoom(axes: Axes, one: ExplainedObject) -> None:
    """A square around all that is drawn of an object."""
    corners = [one.box[:2], one.box[2:], one.refined[:2], one.refined[2:], one.anchor[:2], one.anchor[2:]]
    around = np.array(corners if one.points is None else [*corners, *one.points])
    low, high = around.min(axis=0), around.max(axis=0)
    side = float((high - low).max()) * (1 + _MARGIN / 2)
    x, y = (low + high) / 2
    axes.set_xlim(x - side / 2, x + side / 2)
    axes.set_ylim(y + side / 2, y - side / 2)
    axes.set_facecolor("#d9d9d9")  # beyond the image


def _points(axes: Axes, one: ExplainedObject, color: Any, *, size: float) -> None:
    """The sampling points, each with a line from where it would be without offsets."""
    assert one.points is not None and one.regular is not None
    for (x, y), (from_x, from_y) in zip(one.points, one.regular, strict=True):
        axes.plot([from_x, x], [from_y, y], color=_EDGE, linewidth=1.6, zorder=3, solid_capstyle="round")
        axes.plot([from_x, x], [from_y, y], color=color, linewidth=0.8, zorder=4)
    axes.scatter(one.points[:, 0], one.points[:, 1], s=size, color=color, edgecolors=_EDGE, linewidths=0.8, zorder=5)


def _rectangle(axes: Axes, box: np.ndarray, color: str, width: float, *, dashed: bool = False) -> None:
    """A frame on a darker one, so that it is seen on any image."""
    from matplotlib.patches import Rectangle

    corner, size = (float(box[0]), float(box[1])), (float(box[2] - box[0]), float(box[3] - box[1]))
    for ink, line in ((_EDGE, width + 1.2), (color, width)):
        style = "--" if dashed and ink == color else "-"
        axes.add_patch(Rectangle(corner, *size, fill=False, edgecolor=ink, linewidth=line, linestyle=style))


def _color(explanation: Explanation, level: int) -> Any:
    from matplotlib import colormaps

    return colormaps["rainbow"]((level + 0.5) / len(explanation.levels))


def _name(level: Level) -> str:
    return f"stride {level.stride}"


def _line(color: str, *, dashed: bool) -> Any:
    from matplotlib.lines import Line2D
    from matplotlib.patheffects import Normal, Stroke

    return Line2D(
        [],
        [],
        color=color,
        linewidth=2,
        linestyle="--" if dashed else "-",
        path_effects=[Stroke(linewidth=3.2, foreground=_EDGE), Normal()],
    )


def _dot(color: Any) -> Any:
    from matplotlib.lines import Line2D

    return Line2D([], [], color=color, marker="o", markersize=6, linestyle="none", markeredgecolor=_EDGE)


def _legend(figure: Figure, handles: Sequence[Any], names: Sequence[str], *, title: str | None = None) -> None:
    figure.legend(
        handles,
        names,
        loc="outside lower center",
        ncols=len(names),
        frameon=False,
        fontsize=9,
        labelcolor=INK,
        title=title,
        title_fontsize=9,
    )


def _opaque(heat: Any) -> Any:
    """The colors of a heat map without its transparency, for the color bar."""
    from matplotlib.cm import ScalarMappable

    return ScalarMappable(norm=heat.norm, cmap=heat.cmap)
