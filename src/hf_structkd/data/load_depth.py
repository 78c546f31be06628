"""Depth data: their options, and how these become the datasets that a trainer takes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import Any, ClassVar, Literal

from ._assembly import LoadedData, assemble
from ._rows import Normalization
from ._splits import load_splits
from .dense import DenseReader
from .depth_check import check_depths
from .options import DataOptions, option, options_for
from .targets import DepthMap

DepthKind = Literal["metric", "relative", "inverse"]


@dataclass(frozen=True, kw_only=True)
class DepthOptions(DataOptions):
    """Options of monocular depth: of its data, and of its task.

    Training crops that are scaled by s show depths divided by s (see `DepthMap`), so `scale` also widens the
    range of depths that is trained on.
    """

    task_fields: ClassVar[tuple[str, ...]] = (
        "depth_loss",
        "depth_kind",
        "teacher_depth_kind",
        "min_depth",
        "max_depth",
        "crop",
        "median_scaling",
    )

    target_kind: ClassVar[str | None] = "depth"

    depth_column: str = option(
        "depth", "Column of the depth maps: 16-bit, 32-bit or float images, or arrays."
    )
    depth_scale: float | None = option(
        None,
        "Metres per stored unit: 0.001 for millimetres, 1 for metres; unset takes floats as metres and "
        "integers as millimetres; values that are not positive and finite mean that nothing was measured.",
    )
    depth_hole: float | None = option(
        None, "Stored value that means, as 0 does, that nothing was measured, for example 65535."
    )
    prompt_depth_column: str | None = option(
        None,
        "Column of the depth that a sensor measured, which a Prompt Depth Anything is shown beside the "
        "image; read as the depth maps are.",
    )
    depth_loss: Literal["silog", "l1", "berhu", "ssi"] | None = option(
        None,
        "Supervised loss; 'ssi' for depth up to scale and shift; unset is that, or 'silog' for metric depth.",
    )
    depth_kind: DepthKind | None = option(
        None,
        "What the student predicts; unset is what it was trained for, or 'metric', and without labels what "
        "the teacher predicts.",
    )
    teacher_depth_kind: DepthKind | None = option(
        None,
        "What the teacher predicts; 'inverse' for MiDaS-style models; unset asks its configuration and name.",
    )
    min_depth: float = option(1e-3, "Metres; nearer truth is not scored.")
    max_depth: float | None = option(None, "Metres; farther truth is not scored.")
    crop: Literal["none", "eigen"] = option(
        "none", "Part of the image that is scored; 'eigen' is NYUv2's custom."
    )
    median_scaling: bool = option(False, "Score predictions after bringing their median to the truth's.")

    @property
    def input_columns(self) -> tuple[str, ...]:
        """The column of the images, and that of the prompts if there is one."""
        return (self.image_column, *filter(None, [self.prompt_depth_column]))


def load_depth_data(
    dataset_name: str | None = None,
    *,
    normalization: Normalization,
    seed: int = 42,
    options: DepthOptions | None = None,
    **fields: Any,
) -> LoadedData:
    """Load, check and wrap a dataset of images with depth, with unlabelled images if wanted.

    Args:
        dataset_name: Hub id or folder; None takes that of `options`, or renders the embedded scenes.
        normalization: Turns colours into the student's inputs.
        seed: Seed of the augmentation, of a stream's order and of the rows that are held out.
        options: Options to start from; None is the defaults, with the `image_size` of the scenes, 96 x 128.
        **fields: Fields of `DepthOptions`, which documents them; they win over `options`.

    Returns:
        The data; `labels` are metres (float32), 0 where nothing was measured, and `id2label` is None. The
        `notes` of the training rows say the range of the first maps.

    Raises:
        TypeError: If a name among `fields` is no field, or a field of the task.
        ValueError: If a split or column is missing, a setting is out of range, or the unit of the depth
            cannot be right, see `check_depths`.
    """
    chosen = options_for("load_depth_data", DepthOptions, options, dataset_name, fields)
    target = DepthMap(
        column=chosen.depth_column, depth_scale=chosen.depth_scale, depth_hole=chosen.depth_hole
    )
    column = chosen.prompt_depth_column
    prompt = None if column is None else replace(target, column=column)
    splits = load_splits(chosen, seed=seed)
    seen = check_depths(splits.train, target, split=chosen.train_split) if splits.labeled else ""
    if splits.scored:
        check_depths(splits.validation, target, split=splits.validation_name)
    if prompt is not None:
        check_depths(splits.train, prompt, split=chosen.train_split, argument="prompt_depth_column")
    make_reader = partial(DenseReader, target=target, prompt=prompt, normalization=normalization)
    data = assemble(chosen, splits, make_reader, seed=seed, nothing=target.nothing)
    if data.labeled is not None and seen:
        data.labeled.notes = {"depth data": seen}
    return data
