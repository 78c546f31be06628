"""A dataset of a teacher's classes, for the comparison with plain training on them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import PIL.Image
import pytest
from datasets import Dataset, load_dataset
from transformers import SegformerImageProcessor

from ..cases import SEGMENTATION

ROOT = Path(__file__).parents[2]


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    import pseudo_labels

    return pseudo_labels


@pytest.fixture
def teacher(script, tmp_path: Path):
    SEGMENTATION.student(0).save_pretrained(tmp_path / "teacher")
    SegformerImageProcessor().save_pretrained(tmp_path / "teacher")
    return script.Teacher(str(tmp_path / "teacher"), (32, 48))


def _picture(seed: int) -> PIL.Image.Image:
    return PIL.Image.fromarray(np.random.default_rng(seed).integers(0, 255, (40, 60, 3), dtype=np.uint8))


def test_unlabelled_images_get_the_teachers_classes(
    script, teacher, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the peer is trained on something that the teacher has not said."""
    pictures = [_picture(seed) for seed in range(3)]
    truth = teacher.classes(pictures[0])
    (tmp_path / "data").mkdir()
    rows = {"image": pictures, "label": [truth] * 3}
    for split in ("train", "validation"):
        Dataset.from_dict(rows, features=script.FEATURES).to_parquet(tmp_path / "data" / f"{split}.parquet")
    splits = ["--labeled_split", "train[:1]", "--unlabeled_split", "train[1:]", "--image_size", "32", "48"]
    words = ["--teacher", str(tmp_path / "teacher"), "--dataset_name", str(tmp_path / "data"), *splits]
    monkeypatch.setattr("sys.argv", ["pseudo_labels.py", *words, "--output_dir", str(tmp_path / "out")])
    script.main()
    made = load_dataset(str(tmp_path / "out"), split="train")
    assert len(made) == 3
    for row, picture in zip(made, pictures, strict=True):
        assert np.array_equal(np.asarray(row["label"]), np.asarray(teacher.classes(picture)))


def test_a_teacher_of_more_classes_than_8_bits_hold_is_refused(script, tmp_path: Path) -> None:
    """Else class 256 is written as class 0, and class 255 as ignored."""
    model = SEGMENTATION.student(0)
    config = model.config
    config.architectures = [type(model).__name__]
    config.id2label = {number: f"class {number}" for number in range(256)}
    config.save_pretrained(tmp_path / "large")
    with pytest.raises(ValueError, match="at most 255 classes, got 256"):
        script.Teacher(str(tmp_path / "large"), (32, 48))


def test_a_teacher_of_other_numbers_is_refused(script, teacher) -> None:
    """Else a student learns classes under wrong names, and the peer looks useless."""
    picture = _picture(1)
    wrong = (np.asarray(teacher.classes(picture)) + 1).astype(np.uint8)
    rows = Dataset.from_dict(
        {"image": [picture], "label": [PIL.Image.fromarray(wrong)]}, features=script.FEATURES
    )
    with pytest.raises(ValueError, match="agrees with 0% of its labelled pixels"):
        script.agreement(rows, teacher)
