"""The boxes that a detector is sure of become labels."""

from __future__ import annotations

import pytest
import torch

from hf_structkd.tasks._detected import confident_boxes
from hf_structkd.tasks.detectors import DetectionQueries

BOXES = torch.tensor(
    [
        [0.3, 0.3, 0.2, 0.2],
        [0.31, 0.3, 0.2, 0.2],  # overlaps the first by more than a half
        [0.3, 0.31, 0.2, 0.2],  # as the one before, of another class
        [0.9, 0.9, 0.4, 0.4],  # a quarter of it lies inside the image
        [1.5, 0.5, 0.2, 0.2],  # outside
        [0.6, 0.2, 0.1, 0.1],
    ]
)
P = torch.tensor([[0.9, 0.1], [0.95, 0.2], [0.3, 0.6], [0.7, 0.1], [0.9, 0.1], [0.4, 0.3]])


@pytest.mark.parametrize(
    ("head", "order"),
    [
        ("sigmoid", [1, 3, 2]),
        ("softmax", [0, 3, 2, 5]),  # with "no object", the shares are 0.86, 0.79, 0.63, 0.82, 0.86 and 0.53
    ],
)
def test_sure_boxes_without_overlaps_of_one_class_are_labels(head: str, order: list[int]) -> None:
    """Two boxes of one object, or one of nothing, are learned as surely as an annotated one."""
    with_nothing = torch.cat((P, torch.full((6, 1), 0.05)), dim=1).log()
    logits = torch.logit(P) if head == "sigmoid" else with_nothing
    found = confident_boxes(DetectionQueries(logits[None], BOXES[None]), head, threshold=0.5)[0]  # type: ignore[arg-type]
    cut = torch.tensor([0.85, 0.85, 0.3, 0.3])
    expected = torch.stack([cut if index == 3 else BOXES[index] for index in order])
    torch.testing.assert_close(found["boxes"], expected)
    assert found["class_labels"].tolist() == [int(P[index].argmax()) for index in order]


def test_an_image_without_a_sure_box_has_no_labels() -> None:
    queries = DetectionQueries(torch.full((1, 6, 2), -9.0), BOXES[None])
    found = confident_boxes(queries, "sigmoid", threshold=0.5)[0]
    assert found["boxes"].shape == (0, 4)
    assert found["class_labels"].dtype == torch.int64


@pytest.mark.parametrize("name", ["threshold", "max_overlap"])
def test_a_share_outside_its_range_is_refused(name: str) -> None:
    queries = DetectionQueries(torch.zeros(1, 6, 2), BOXES[None])
    with pytest.raises(ValueError, match=rf"`{name}` must lie in \[0, 1\], got 50"):
        confident_boxes(queries, "sigmoid", **{"threshold": 0.5, name: 50})
