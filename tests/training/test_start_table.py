"""The table before the first step says what is compared, with which weights and at what cost."""

from __future__ import annotations

import re
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import PretrainedConfig

from hf_structkd import Critic, pairwise_distillation_loss
from hf_structkd.features import FeatureCapture
from hf_structkd.features.forward import run_model
from hf_structkd.losses import pairwise
from hf_structkd.tasks import SegmentationTask
from hf_structkd.terms import HolisticTerm, PairwiseTerm, PixelTerm, TaskTerm, TrainingPlan
from hf_structkd.training.start_table import Side, start_table
from tests.tiny_models import tiny_segmentation_model

WEIGHTS = {"task": 1.0, "pixel": 0.5, "pairwise": 10.0, "holistic": 0.0}
SIZE = (64, 96)
PLAN = TrainingPlan(torch.device("cpu"), 0, lambda optimizer: None)


def table(
    *,
    student: str = "segformer",
    teacher: str = "mobilevit",
    images: int = 2,
    weights: dict[str, float] = WEIGHTS,
    **settings: Any,
) -> str:
    """The table of two tiny models, of which each has answered one image."""
    batch = {
        "pixel_values": torch.randn(images, 3, *SIZE),
        "labels": torch.zeros(images, *SIZE, dtype=torch.long),
    }
    terms = [TaskTerm(), PixelTerm(), PairwiseTerm(**settings), HolisticTerm()]
    active = [(term, weights[term.name]) for term in terms if weights[term.name] > 0]
    models = tiny_segmentation_model(student), tiny_segmentation_model(teacher)
    task = SegmentationTask(models[0].config, models[1].config)
    for term, _ in active:
        term.begin(task, PLAN)
    sides = []
    with torch.no_grad():
        for model in models:
            one = batch["pixel_values"][:1]
            capture = FeatureCapture.before_classifier(model, one) if weights["pairwise"] > 0 else None
            forward = run_model(model, {"pixel_values": one}, capture)
            sides.append(Side(model, forward, capture.description if capture else "-"))
    return start_table(task, active, batch, student=sides[0], teacher=sides[1], lines={})


def row(text: str, name: str) -> str:
    (line,) = [line for line in text.splitlines() if line[:14].strip() == name]
    return line[14:].strip()


def megabytes(text: str) -> float:
    found = re.search(r"about ([\d.]+) MiB", row(text, "extra memory"))
    assert found is not None
    return float(found[1])


def test_both_models_stand_side_by_side() -> None:
    text = table()
    assert row(text, "model").split() == [
        "SegformerForSemanticSegmentation",
        "MobileViTForSemanticSegmentation",
    ]
    assert row(text, "parameters").split() == ["0.02", "M", "0.04", "M"]
    assert re.split(r"\s{2,}", row(text, "output")) == ["7 × 16 × 24", "7 × 8 × 12"]


def test_features_are_named_with_their_shapes() -> None:
    """A wrong layer is seen here or nowhere."""
    text = table()
    assert re.split(r"\s{2,}", row(text, "feature")) == [
        "input of decode_head.classifier, before decode_head.dropout",
        "input of segmentation_head.classifier.convolution, before segmentation_head.aspp.dropout",
    ]
    assert re.split(r"\s{2,}", row(text, "feature map")) == ["12 × 16 × 24", "12 × 8 × 12"]


def test_columns_are_aligned_and_lines_ruled() -> None:
    """A long layer name must not run into the teacher's."""
    lines = table(student="mobilevit", teacher="mobilenet_v2").splitlines()
    header, model = lines[1], lines[2]
    assert header.index("teacher") == model.index("MobileNetV2ForSemanticSegmentation")
    assert header.index("student") == model.index("MobileViTForSemanticSegmentation")
    assert set(lines[0]) == set(lines[-1]) == {"─"}
    assert len(lines[0]) == max(map(len, lines))


def test_terms_stand_with_their_weights_and_those_that_are_off_do_not() -> None:
    assert row(table(), "terms") == "1 × task, 0.5 × pixel, 10 × pairwise"


def test_features_are_left_out_where_the_pairwise_term_is_off() -> None:
    text = table(weights={**WEIGHTS, "pairwise": 0.0})
    assert "feature" not in text
    assert "nodes" not in text


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"granularity": (1, 3)},
        {"granularity": (3, 5)},
        {"node_grid": 3},
        {"node_grid": 5, "connection_range": 9},
        {"connection_range": 25, "granularity": (1, 1)},
    ],
)
def test_nodes_are_those_of_the_loss(settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """Counted apart from the loss, the table could say what is not done."""
    found = re.search(
        r"(\d+) × (\d+) of the 8 × 12 map, each compared with (\w+)", row(table(**settings), "nodes")
    )
    assert found is not None
    size = PairwiseTerm(**settings).node_size(8, 12)
    assert (int(found[1]), int(found[2])) == nodes_of_the_loss(size, monkeypatch)
    assert found[3] == str(settings.get("connection_range", "all"))


def nodes_of_the_loss(granularity: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> tuple[int, int]:
    """Rows and columns of the nodes that the loss itself makes of an 8 × 12 map."""
    seen: list[tuple[int, int]] = []
    original = pairwise.masked_nodes

    def spy(*args: Any) -> tuple[Tensor, Tensor]:
        nodes, valid = original(*args)
        seen.append((nodes.shape[2], nodes.shape[3]))
        return nodes, valid

    monkeypatch.setattr(pairwise, "masked_nodes", spy)
    pairwise_distillation_loss(torch.randn(1, 2, 8, 12), torch.randn(1, 3, 8, 12), granularity=granularity)
    return seen[0]


@pytest.mark.usefixtures("published_critic")
def test_memory_grows_with_the_batch_and_with_the_critic() -> None:
    small, large = megabytes(table(images=2)), megabytes(table(images=128))
    assert large > small
    with_critic = megabytes(table(weights={**WEIGHTS, "holistic": 0.1}))
    # Weights, gradient and two moments, 4 bytes each; the maps of two small images are below the rounding.
    parameters = sum(p.numel() for p in Critic(7, image_channels=3).parameters())
    assert with_critic - small == pytest.approx(16 * parameters / 2**20, abs=1)


def test_the_classes_are_matched_by_name_before_everybodys_eyes() -> None:
    """Else a student of buildings is taught by a teacher of skies, and the table shows two shapes."""
    student = {0: "road", 1: "car", 2: "tram"}
    teacher = {0: "sky", 1: "Car", 2: "road", **{index: f"thing {index}" for index in range(3, 11)}}
    configs = [PretrainedConfig(id2label=names) for names in (student, teacher)]
    assert SegmentationTask(*configs).describe()["classes"] == (
        "2 shared by name; 9 (sky, thing 3, thing 4, thing 5, thing 6, thing 7, …) of the teacher's unused; "
        "1 (tram) of the student's learned from labels alone"
    )
    nameless = PretrainedConfig(id2label={0: "road", 1: "N/A", 2: "car", 3: "N/A"})
    task = SegmentationTask(configs[0], nameless)
    assert task.describe()["classes"].endswith(
        "; 1 (N/A) dropped: several classes of the teacher have one name"
    )
    assert task.settings()["dropped_teacher_names"] == ["N/A"]
    assert row(table(), "classes").startswith("7 shared by name (LABEL_0, LABEL_1, …: generic names")
