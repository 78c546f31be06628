"""Draw the figures of `docs/method.md`: what each term compares, the nodes, and the critic.

    python scripts/draw_method.py

The answers of teacher and student are made up from the true classes of one embedded scene: blurred a little
for the teacher, and more for the student. No model is run. `--output_dir` writes elsewhere than to `docs/`.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from torch import Tensor
from torch.nn import functional as F

from hf_structkd.scenes.scenes import CLASS_NAMES, load_scenes

WIDTH = 5.4  # inches: on a phone it is read without zooming
TEACHER, STUDENT, CHOSEN = "#3b5bdb", "#e8590c", "#d6336c"
GRID = (24, 32)
PLACE = (15, 13)  # the cell of the grid that the figure looks at


def main(argv: list[str] | None = None) -> None:
    """Draw every figure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output_dir", type=Path, default=Path(__file__).parents[1] / "docs")
    folder = parser.parse_args(argv).output_dir
    folder.mkdir(parents=True, exist_ok=True)
    plt.rcParams.update({"svg.hashsalt": "method", "font.size": 9, "axes.titlesize": 9})
    figures = {"terms": draw_terms(), "nodes": draw_nodes(), "critic": draw_critic()}
    for name, figure in figures.items():
        figure.savefig(folder / f"method-{name}.svg", metadata={"Date": None}, bbox_inches="tight")
        plt.close(figure)


def draw_terms() -> Figure:
    """Draw a row for each of the three terms, on one scene."""
    image, teacher, student = made_up_answers()
    figure = plt.figure(figsize=(WIDTH, 6.2))
    axes = np.array(
        [
            [figure.add_axes((left, bottom, 0.27, 0.19)) for left in (0.03, 0.38, 0.70)]
            for bottom in (0.70, 0.385, 0.105)
        ]
    )
    titles = ("Pixel-wise: place by place", "Pair-wise: pair by pair", "Holistic: the whole map")
    for bottom, title in zip((0.945, 0.615, 0.335), titles, strict=True):
        figure.text(0.03, bottom, title, fontsize=10.5, fontweight="bold")
    _draw_pixel(axes[0], image, teacher, student)
    _draw_pairs(axes[1], teacher, student)
    _draw_maps(axes[2], image, teacher, student)
    return figure


def made_up_answers() -> tuple[np.ndarray, Tensor, Tensor]:
    """Return the scene (H, W, 3), and class probabilities (K, h, w) in the place of two models' answers."""
    row = load_scenes(num_train=4, num_validation=1, height=96, width=128)["train"][2]
    labels = torch.from_numpy(np.array(row["label"])).long()
    ones = F.one_hot(labels.clamp(max=len(CLASS_NAMES) - 1), len(CLASS_NAMES)).permute(2, 0, 1).float()[None]
    cells = F.adaptive_avg_pool2d(ones, GRID)
    generator = torch.Generator().manual_seed(0)
    noise = F.avg_pool2d(torch.rand(cells.shape, generator=generator), 5, 1, 2, count_include_pad=False)
    sure, unsure = _blurred(cells, 3), _blurred(cells, 9) + 0.08 * noise
    return np.asarray(row["image"]), _shares(sure + 0.004)[0], _shares(unsure)[0]


def _blurred(cells: Tensor, side: int) -> Tensor:
    return F.avg_pool2d(cells, side, 1, side // 2, count_include_pad=False)


def _shares(values: Tensor) -> Tensor:
    return values / values.sum(dim=1, keepdim=True)


def _draw_pixel(axes: np.ndarray, image: np.ndarray, teacher: Tensor, student: Tensor) -> None:
    _picture(axes[0], image, "one place")
    _mark(axes[0], scale=image.shape[0] / GRID[0])
    order = teacher[:, PLACE[0], PLACE[1]].argsort(descending=True)[:5]
    names = [CLASS_NAMES[index] for index in order]
    for one, maps, name, colour in (
        (axes[1], teacher, "teacher there", TEACHER),
        (axes[2], student, "student there", STUDENT),
    ):
        one.barh(range(5), maps[order, PLACE[0], PLACE[1]].numpy(), color=colour)
        one.set(title=name, xlim=(0, 1), yticks=range(5))
        one.set_yticklabels(names if one is axes[1] else [""] * 5, fontsize=7.5)
        one.invert_yaxis()
        one.set_xticks([0, 0.5, 1], ["0", "0.5", "1"], fontsize=7)
        one.set_xlabel("probability of a class", fontsize=7.5, labelpad=1)
        one.tick_params(length=2, pad=1.5)
        for side in ("top", "right"):
            one.spines[side].set_visible(False)


def _draw_pairs(axes: np.ndarray, teacher: Tensor, student: Tensor) -> None:
    ours, theirs = affinities(student), affinities(teacher)
    shown = ((theirs, "teacher: like the place"), (ours, "student: like the place"))
    for one, (values, title) in zip(axes, shown, strict=False):
        one.imshow(values.numpy(), cmap="viridis", vmin=0, vmax=1)
        _bare(one, title)
        _mark(one)
    axes[2].imshow((ours - theirs).square().numpy(), cmap="magma", vmin=0, vmax=1)
    _bare(axes[2], "squared difference")


def affinities(features: Tensor) -> Tensor:
    """Return the cosines (h, w) of the chosen place with every place of a map (C, h, w)."""
    units = F.normalize(features.flatten(1), dim=0)
    chosen = units[:, PLACE[0] * GRID[1] + PLACE[1]]
    return (chosen @ units).view(*GRID)


def _draw_maps(axes: np.ndarray, image: np.ndarray, teacher: Tensor, student: Tensor) -> None:
    _picture(axes[0], image, "the image")
    colours = ListedColormap(plt.get_cmap("tab20").colors[: len(CLASS_NAMES)])
    for one, maps, name, colour in (
        (axes[1], teacher, "teacher's map", TEACHER),
        (axes[2], student, "student's map", STUDENT),
    ):
        one.imshow(maps.argmax(dim=0).numpy(), cmap=colours, vmin=0, vmax=len(CLASS_NAMES) - 1)
        _bare(one, name)
        for side in one.spines.values():
            side.set(color=colour, linewidth=2)
    axes[1].set_xlabel("critic: a high score", fontsize=8)
    axes[2].set_xlabel("critic: a low score", fontsize=8)


def draw_nodes() -> Figure:
    """Draw a map of pixels, its nodes of 2 × 2, and what one node is compared with."""
    figure, axes = plt.subplots(1, 2, figsize=(WIDTH, 2.9), layout="constrained")
    for one, radius, title in (
        (axes[0], 1, "connection_range 9: a window"),
        (axes[1], None, "unset: the full graph"),
    ):
        _draw_grid(one, rows=6, columns=8, place=(2, 3), radius=radius)
        one.set_title(title)
    figure.supxlabel(
        "thin lines: pixels of the feature map; thick: nodes of 2 × 2 (granularity 2)", fontsize=8
    )
    return figure


def _draw_grid(axes: Axes, *, rows: int, columns: int, place: tuple[int, int], radius: int | None) -> None:
    for row in range(rows):
        for column in range(columns):
            is_near = radius is None or max(abs(row - place[0]), abs(column - place[1])) <= radius
            colour = CHOSEN if (row, column) == place else "#ffdeeb" if is_near else "white"
            axes.add_patch(Rectangle((2 * column, 2 * row), 2, 2, facecolor=colour, edgecolor="0.2"))
    for x in range(1, 2 * columns, 2):
        axes.plot([x, x], [0, 2 * rows], color="0.75", linewidth=0.6)
    for y in range(1, 2 * rows, 2):
        axes.plot([0, 2 * columns], [y, y], color="0.75", linewidth=0.6)
    axes.set(xlim=(-0.1, 2 * columns + 0.1), ylim=(2 * rows + 0.1, -0.1), aspect="equal")
    axes.axis("off")


def draw_critic() -> Figure:
    """Draw the critic layer by layer."""
    figure, axes = plt.subplots(figsize=(WIDTH, 2.9), layout="constrained")
    layers = (
        ("image", 3.0, "#868e96"),
        ("map", 3.0, TEACHER),
        ("64", 2.1, "#74b816"),
        ("128", 1.5, "#74b816"),
        ("256", 1.05, "#74b816"),
        ("attention", 1.05, "#f59f00"),
        ("512", 0.75, "#74b816"),
        ("attention", 0.75, "#f59f00"),
        ("1", 0.55, "#74b816"),
    )
    x = 0.0
    for place, (name, height, colour) in enumerate(layers):
        axes.add_patch(Rectangle((x, -height / 2), 0.5, height, facecolor=colour, alpha=0.85))
        axes.text(x + 0.25, height / 2 + 0.1, name, ha="center", va="bottom", fontsize=7.5)
        if place > 0:
            axes.text(x - 0.15, 0, "+" if place == 1 else "›", ha="center", va="center", fontsize=11)
        x += 0.8
    axes.text(x + 0.25, 0, "mean =\nscore", ha="center", va="center", fontsize=9, fontweight="bold")
    axes.text(
        x / 2,
        -2.0,
        "green: convolutions, by their channels; the first four halve both sides\n"
        "orange: self-attention, in which every cell sees every other",
        ha="center",
        va="top",
        fontsize=8,
    )
    axes.set(xlim=(-0.1, x + 0.8), ylim=(-2.9, 2.1))
    axes.axis("off")
    return figure


def _picture(axes: Axes, image: np.ndarray, title: str) -> None:
    axes.imshow(image)
    _bare(axes, title)


def _bare(axes: Axes, title: str) -> None:
    axes.set(title=title, xticks=[], yticks=[])


def _mark(axes: Axes, scale: float = 1.0) -> None:
    row, column = ((one + 0.5) * scale - 0.5 for one in PLACE)
    axes.plot(column, row, marker="o", markersize=9, markerfacecolor="none", markeredgecolor=CHOSEN, mew=2)


if __name__ == "__main__":
    main()
