"""Draw a contact sheet of the built-in scenes: image, class labels, depth and boxes of the same rooms.

python scripts/make_contact_sheet.py --output docs/scenes.png
"""

from __future__ import annotations

import io
from dataclasses import dataclass, field
from pathlib import Path

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.patches import Patch, Rectangle
from PIL import Image, ImageOps
from transformers import HfArgumentParser

from hf_structkd.scenes.scenes import CLASS_NAMES, OBJECT_CLASS_NAMES, Scene, render_scene

# Muted for the room itself, strong for the objects in it.
CLASS_COLOURS = np.array(
    [
        (196, 178, 152), (228, 228, 224), (172, 190, 208), (86, 170, 232), (134, 88, 50), (246, 150, 190),
        (228, 140, 30), (250, 220, 60), (208, 52, 52),
    ]
)  # fmt: skip
ROWS = ("image", "label", "depth", "boxes")


@dataclass
class SheetArguments:
    """Which scenes to draw, and where to."""

    output: Path = field(default=Path("docs/scenes.png"), metadata={"help": "PNG file to write."})
    seed: int = field(default=0, metadata={"help": "Seed of the scenes."})
    indices: list[int] = field(
        default_factory=lambda: [2, 6, 8, 12, 17], metadata={"help": "Scenes, one a column."}
    )
    height: int = field(default=192, metadata={"help": "Rows of each image."})
    width: int = field(default=256, metadata={"help": "Columns of each image."})


def draw_boxes(axes: Axes, scene: Scene) -> None:
    """Outline each object and write its class on it."""
    axes.imshow(scene.image)
    for box, category in zip(scene.objects["bbox"], scene.objects["category"], strict=True):
        name = OBJECT_CLASS_NAMES[category]
        colour = CLASS_COLOURS[CLASS_NAMES.index(name)] / 255
        x, y, width, height = box
        axes.add_patch(
            Rectangle((x - 0.5, y - 0.5), width, height, fill=False, edgecolor=colour, linewidth=1.4)
        )
        if box[2] * box[3] < 0.006 * scene.label.size:
            continue  # a name would hide the object
        dark = colour @ (0.3, 0.6, 0.1) < 0.6
        axes.text(
            x,
            max(y, 7),
            name,
            fontsize=6,
            color="white" if dark else "black",
            verticalalignment="bottom",
            bbox={"facecolor": colour, "edgecolor": "none", "pad": 0.8},
            clip_on=True,
        )


def draw_columns(grid: np.ndarray, scenes: list[Scene], indices: list[int]) -> AxesImage:
    """Fill the grid, one scene a column; returns the last depth picture, for its colour bar."""
    farthest = max(float(scene.depth.max()) for scene in scenes)
    for column, scene in enumerate(scenes):
        image, label, depth, boxes = grid[:, column]
        image.imshow(scene.image)
        image.set_title(f"scene {indices[column]}", fontsize=9)
        palette = ListedColormap(CLASS_COLOURS / 255)
        label.imshow(
            scene.label, cmap=palette, vmin=-0.5, vmax=len(CLASS_NAMES) - 0.5, interpolation="nearest"
        )
        shown = depth.imshow(scene.depth, cmap="magma_r", vmin=0, vmax=farthest)
        draw_boxes(boxes, scene)
    for axes in grid.flat:
        axes.set_xticks([])
        axes.set_yticks([])
        for spine in axes.spines.values():
            spine.set_visible(False)
    for row, name in enumerate(ROWS):
        grid[row, 0].set_ylabel(name, fontsize=10)
    return shown


def draw_sheet(scenes: list[Scene], indices: list[int]) -> Figure:
    """Draw the whole sheet: the grid, a legend of the classes and a bar of metres for the depth row."""
    columns = len(scenes)
    figure, grid = plt.subplots(4, columns, figsize=(2.3 * columns + 1.1, 7.15), squeeze=False)
    figure.subplots_adjust(left=0.025, right=0.9, top=0.96, bottom=0.01, wspace=0.03, hspace=0.03)
    shown = draw_columns(grid, scenes, indices)
    depth_box = grid[2, -1].get_position()
    bar = figure.add_axes((0.91, depth_box.y0 + 0.01, 0.012, depth_box.height - 0.02))
    figure.colorbar(shown, cax=bar).set_label("depth [m]", fontsize=9)
    bar.tick_params(labelsize=8)
    label_box = grid[1, -1].get_position()
    patches = [
        Patch(facecolor=colour / 255, edgecolor="0.4", linewidth=0.5, label=name)
        for colour, name in zip(CLASS_COLOURS, CLASS_NAMES, strict=True)
    ]
    figure.legend(
        handles=patches,
        loc="upper left",
        bbox_to_anchor=(0.902, label_box.y1 + 0.04),
        fontsize=8,
        frameon=False,
        handlelength=1.2,
        labelspacing=0.28,
    )
    return figure


def main() -> None:
    """Render the scenes, draw them, and write a PNG with 6 bits a colour, which halves its size."""
    (args,) = HfArgumentParser(SheetArguments).parse_args_into_dataclasses()
    scenes = [
        render_scene(index, seed=args.seed, height=args.height, width=args.width) for index in args.indices
    ]
    buffer = io.BytesIO()
    draw_sheet(scenes, args.indices).savefig(buffer, dpi=100)
    picture = ImageOps.posterize(Image.open(buffer).convert("RGB"), 6)
    picture = picture.point([round(level * 255 / 252) for level in range(256)] * 3)  # white stays white
    picture.save(args.output, optimize=True)
    print(f"{args.output}: {picture.width}x{picture.height}, {args.output.stat().st_size // 1024} kB")


if __name__ == "__main__":
    main()
