"""A Prompt Depth Anything is shown what a sensor measured, and then teaches metres."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest
import torch

from hf_structkd import StructKDTrainer, load_depth_data
from hf_structkd.data import DepthMap
from hf_structkd.data.prompts import read_prompt
from hf_structkd.matching.normalization import ImageNormalization
from hf_structkd.tasks import DepthTask

from ..cases import DEPTH, arguments
from ..data.test_loaders import png
from ..tiny_models import tiny_depth_model

OFF: dict[str, Any] = {"flip_probability": 0.0, "color_jitter": (0, 0, 0, 0), "scale": (1, 1)}


def folder_of(path: Path) -> str:
    """Images of 64 × 64 beside a sensor's 16 × 16 millimetres, in each of which a corner is not measured."""
    random = np.random.default_rng(0)
    depths = [random.integers(800, 6000, (16, 16), dtype=np.uint16) for _ in range(4)]
    for depth in depths:
        depth[:4, :4] = 0
    columns = {"image": [png(random.integers(0, 256, (64, 64, 3), dtype=np.uint8)) for _ in depths]}
    columns["lidar"] = [png(depth) for depth in depths]
    features = datasets.Features(dict.fromkeys(columns, datasets.Image()))
    datasets.Dataset.from_dict(columns, features=features).save_to_disk(path)
    return str(path)


def test_a_hole_of_the_sensor_has_the_nearest_depth() -> None:
    """0 would be the nearest point of the scene, and the scale of the teacher's whole answer."""
    depth = torch.tensor([[0.0, 0.0, 3.0], [0.0, 2.0, 4.0]])
    found = read_prompt(DepthMap(column="lidar"), {"lidar": depth.numpy()}, (4, 6), where="row 0")
    assert found.shape == (4, 6)
    assert found[0, 5] == 3
    assert found[3, 0] == 2
    assert found.unique().tolist() == [2, 3, 4]
    with pytest.raises(
        ValueError, match="A prompt must hold at least two depths, got 1 in row 3, column 'lidar'"
    ):
        read_prompt(DepthMap(column="lidar"), {"lidar": np.full((2, 2), 2.0)}, (4, 4), where="row 3")


def test_the_prompt_follows_the_crop(tmp_path: Path) -> None:
    """A prompt of another part of the image scales the teacher's answer by another scene."""
    settings: dict[str, Any] = {"normalization": ImageNormalization(), "prompt_depth_column": "lidar"}
    name = folder_of(tmp_path)
    plain = load_depth_data(name, image_size=(64, 64), **settings, **OFF).train[0]["prompt_depth"]
    mirrored = load_depth_data(name, image_size=(64, 64), **settings, **{**OFF, "flip_probability": 1.0})
    zoomed = load_depth_data(name, image_size=(64, 64), **settings, **{**OFF, "scale": (2, 2)})
    assert plain.shape == (1, 64, 64)
    assert torch.equal(mirrored.train[0]["prompt_depth"], plain.flip(-1))
    near = zoomed.train[0]["prompt_depth"]
    assert set(near.unique().tolist()) <= set((plain / 2).unique().tolist())


def test_a_prompted_teacher_teaches_metres_without_a_label(tmp_path: Path) -> None:
    teacher = tiny_depth_model("prompt_depth_anything", seed=3)
    data = load_depth_data(
        folder_of(tmp_path / "data"),
        normalization=ImageNormalization(),
        image_size=(64, 64),
        prompt_depth_column="lidar",
        validation_fraction=0.5,
    )
    trainer = StructKDTrainer(
        DEPTH.student(0),
        teacher,
        arguments(tmp_path, max_steps=1, holistic_weight=0.0, per_device_train_batch_size=2),
        train_dataset=data.train,
        eval_dataset=data.validation,
        task_options={"prompt_depth_column": "lidar"},
    )
    trainer.train()
    assert (trainer.task.depth_kind, trainer.task.teacher_depth_kind) == ("metric", "metric")
    assert trainer.task.describe()["depth"].endswith("metric of the teacher, by its prompt")
    batch = trainer.task.collate([data.validation[0], data.validation[1]])
    with torch.no_grad():
        expected = teacher(pixel_values=batch["pixel_values"], prompt_depth=batch["prompt_depth"])
        unprompted = teacher(pixel_values=batch["pixel_values"])
    found = trainer.teacher(batch).output.predicted_depth
    assert torch.allclose(found, expected.predicted_depth, rtol=1e-4)
    assert not torch.allclose(found, unprompted.predicted_depth, rtol=0.1)
    assert "eval_agreement_abs_rel" in trainer.evaluate()


def test_a_teacher_without_its_prompt_is_relative_and_another_takes_none() -> None:
    """Between which depths it answers, only the prompt says."""
    student, prompted = DEPTH.student(0).config, tiny_depth_model("prompt_depth_anything").config
    text = DepthTask(student, prompted).describe()["depth"]
    assert "relative of the teacher, for want of a prompt; name its column, `prompt_depth_column`" in text
    with pytest.raises(
        ValueError, match=r"`prompt_depth_column` is for a teacher that takes a prompt, .* dpt;"
    ):
        DepthTask(student, DEPTH.teacher(1).config, prompt_depth_column="lidar")
