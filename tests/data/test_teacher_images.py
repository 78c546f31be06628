"""A teacher of larger images is shown the file itself in its size, not the student's pixels enlarged.

Enlarged, a small image has lost what the teacher could see: on CamVid a teacher falls from 0.667 to 0.53 so.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from hf_structkd import StructKDTrainer
from hf_structkd.data import (
    ClassMap,
    DenseAugmentation,
    DenseReader,
    MixedDataset,
    ObjectBoxes,
    StoredRows,
    show_teacher,
)
from hf_structkd.data.views import TEACHER_IMAGE
from hf_structkd.training.fill_cache import fill_teacher_cache
from tests.cases import SEGMENTATION, arguments, make_trainer
from tests.data.reading import read_dense, read_detection

STUDENT, TEACHER = (32, 48), (96, 144)
FILE = (96, 128)


def _rows(image: np.ndarray, count: int = 2) -> datasets.Dataset:
    images = [Image.fromarray(image)] * count
    label = Image.fromarray(np.zeros(image.shape[:2], dtype=np.uint8))
    objects = [{"bbox": [[4.0, 4.0, 80.0, 80.0]], "category": [0]}] * count
    rows = datasets.Dataset.from_dict({"image": images, "label": [label] * count, "objects": objects})
    return rows.cast_column("image", datasets.Image()).cast_column("label", datasets.Image())


def _places() -> np.ndarray:
    """Return an image whose colours are the row and the column of each pixel."""
    rows, columns = np.mgrid[: FILE[0], : FILE[1]]
    return np.stack([rows * 2, columns * 2, rows + columns], axis=-1).astype(np.uint8)


def _stripes() -> np.ndarray:
    """Return stripes of a pixel, of which an image of a third of the size shows gray."""
    stripes = np.zeros((*FILE, 3), dtype=np.uint8)
    stripes[:, ::2] = 255
    return stripes


def _augmentation(scale: tuple[float, float], **settings: Any) -> DenseAugmentation:
    return DenseAugmentation(STUDENT, scale=scale, color_jitter=(0, 0, 0, 0), **settings)


def _read(kind: str, image: np.ndarray, **settings: Any) -> StoredRows:
    if kind == "maps":
        return read_dense(_rows(image), ClassMap(num_labels=3), **settings)
    return read_detection(_rows(image), ObjectBoxes(id2label={0: "thing"}), **settings)


CROPS = {
    "evaluation": {"size": STUDENT},
    "enlarged": {"augmentation": _augmentation((1.5, 2.0))},
    "flipped": {"augmentation": _augmentation((1.5, 2.0), flip_probability=1)},
    "padded": {"augmentation": _augmentation((0.5, 0.7), mirror=False)},
    "mirrored": {"augmentation": _augmentation((0.5, 0.7))},
}


@pytest.mark.parametrize("crop", CROPS)
@pytest.mark.parametrize("kind", ["maps", "boxes"])
def test_both_see_the_same_part_of_the_file(kind: str, crop: str) -> None:
    """A teacher that saw another part would teach the student to answer beside the objects."""
    data = _read(kind, _places(), **CROPS[crop])
    data.show_teacher(TEACHER)
    for row in (data[0], data[1]):
        shown, teacher = row["pixel_values"], row[TEACHER_IMAGE]
        assert teacher.shape == (3, *TEACHER)
        # Where the file ends its border repeats, so that the outermost pixels differ a little.
        difference = (F.interpolate(teacher[None], STUDENT, mode="area")[0] - shown).abs()
        assert float(difference.median()) < 0.01
        assert float(difference.max()) < 0.1


@pytest.mark.parametrize("kind", ["maps", "boxes"])
@pytest.mark.parametrize("crop", ["evaluation", "enlarged"])
def test_the_teacher_sees_what_the_student_is_too_small_for(kind: str, crop: str) -> None:
    data = _read(kind, _stripes(), **CROPS[crop])
    data.show_teacher(TEACHER)
    row = data[0]
    contrast = {name: float(row[name][0, 4:-4, 4:-4].std()) for name in ("pixel_values", TEACHER_IMAGE)}
    assert contrast[TEACHER_IMAGE] > 0.25 > 0.15 > contrast["pixel_values"]


def test_the_colours_are_those_of_the_student() -> None:
    augmentation = DenseAugmentation(STUDENT, scale=(1, 1), color_jitter=(0.9, 0.5, 0.5, 0.3))
    data = _read("maps", _places(), augmentation=augmentation)
    data.show_teacher(TEACHER)
    means = [data[0][name].mean(dim=(1, 2)) for name in ("pixel_values", TEACHER_IMAGE)]
    torch.testing.assert_close(*means, atol=0.02, rtol=0)


def test_an_answer_to_an_enlarged_image_is_not_taken_for_one_to_the_file() -> None:
    """A cache of before would go on to teach what the teacher made of blurred images."""
    data = _read("maps", _places(), augmentation=_augmentation((1, 1)), views=1)
    keys = []
    for size in (None, TEACHER):
        data.show_teacher(size)
        keys.append(data[0]["sample_key"].tolist())
    assert keys[0] != keys[1]


def test_kept_views_are_of_the_size_that_is_asked_for() -> None:
    data = _read("maps", _places(), augmentation=_augmentation((1, 1)), views=1)
    data.keep_views()
    for size in (None, TEACHER, None):
        data.show_teacher(size)
        assert (TEACHER_IMAGE in data[0]) == (size is not None)


def _mixed(image: np.ndarray) -> MixedDataset:
    settings = {"target": ClassMap(num_labels=3), "augmentation": _augmentation((1, 1))}
    parts = [StoredRows(_rows(image), DenseReader(labeled=labeled, **settings)) for labeled in (True, False)]
    return MixedDataset(*parts)


class _Sight:
    """The contrast of the images that a model was shown."""

    def __init__(self, model: torch.nn.Module) -> None:
        """Watch the model."""
        self.contrasts: list[float] = []
        model.register_forward_pre_hook(self._look, with_kwargs=True)

    def _look(self, module: torch.nn.Module, args: Any, kwargs: dict[str, Tensor]) -> None:
        if kwargs:  # the search for feature maps, which is no answer, has none
            self.contrasts.append(float(kwargs["pixel_values"][:, 0, 4:-4, 4:-4].std()))


def test_a_trainer_shows_its_teacher_the_files(tmp_path: Path) -> None:
    """In training and for its score; and a student alone, on the same data, does not read them for nobody."""
    train, validation = (
        _mixed(_stripes()),
        read_dense(_rows(_stripes()), ClassMap(num_labels=3), size=STUDENT),
    )
    settings = {"train_dataset": train, "eval_dataset": validation}
    args = arguments(tmp_path, max_steps=1, teacher_image_size=list(TEACHER), per_device_train_batch_size=4)
    teacher = SEGMENTATION.student(1)  # of any image size
    sight = _Sight(teacher)
    trainer = make_trainer(SEGMENTATION, args, teacher=teacher, **settings)
    trainer.train()
    trained = len(sight.contrasts)
    trainer.evaluate_teacher()
    assert len(sight.contrasts) > trained > 0
    assert min(sight.contrasts) > 0.25
    assert train.teacher_size == TEACHER
    assert validation.teacher_size is None
    off = {f"{name}_weight": 0.0 for name in ("pixel", "pairwise", "holistic")}
    alone = arguments(tmp_path, max_steps=1, teacher_image_size=list(TEACHER), **off)
    StructKDTrainer(SEGMENTATION.student(0), None, alone, **settings).train()
    assert TEACHER_IMAGE not in train[0]


def test_a_cache_that_is_filled_beforehand_holds_the_same_answers(tmp_path: Path) -> None:
    """Else the small machine that trains from it loads the teacher after all, and fills it again."""
    SEGMENTATION.student(1).save_pretrained(tmp_path / "teacher")
    train = _read("maps", _stripes(), augmentation=_augmentation((1, 1)), views=1)
    args = arguments(
        tmp_path / "run", max_steps=1, teacher_image_size=list(TEACHER), teacher_cache=str(tmp_path / "cache")
    )
    trainers = [
        StructKDTrainer(SEGMENTATION.student(0), str(tmp_path / "teacher"), args, train_dataset=train)
        for _ in range(2)
    ]
    assert fill_teacher_cache(trainers[0]) == len(train)
    trainers[1].train()
    assert not trainers[1].teacher.source.is_loaded


def test_data_that_cannot_are_left_as_they_are() -> None:
    assert show_teacher([{"pixel_values": torch.zeros(3, 4, 4)}], TEACHER) is None
