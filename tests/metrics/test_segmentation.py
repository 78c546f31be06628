"""The scores that every table quotes, against slow loops."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from hf_structkd.metrics import MeanIoU, confusion_matrices, scores_from_confusion

K, IGNORED = 4, 255


def slow_confusion(predicted: Tensor, truth: Tensor) -> list[list[int]]:
    """Counts pixel by pixel."""
    counts = [[0] * K for _ in range(K)]
    for p, t in zip(predicted.flatten().tolist(), truth.flatten().tolist(), strict=True):
        if t != IGNORED:
            counts[t][p] += 1
    return counts


def slow_iou(maps: list[tuple[Tensor, Tensor]], category: int) -> float:
    """Intersection over union from sets of pixels, without a confusion matrix."""
    predicted, true = set(), set()
    for image, (prediction, truth) in enumerate(maps):
        for pixel, (p, t) in enumerate(
            zip(prediction.flatten().tolist(), truth.flatten().tolist(), strict=True)
        ):
            if t == IGNORED:
                continue
            if p == category:
                predicted.add((image, pixel))
            if t == category:
                true.add((image, pixel))
    return len(predicted & true) / len(predicted | true) if predicted | true else math.nan


def random_maps(count: int, size: tuple[int, int] = (7, 5)) -> list[tuple[Tensor, Tensor]]:
    truth = torch.randint(0, K, (count, *size))
    truth[torch.rand(truth.shape) < 0.2] = IGNORED
    return list(zip(torch.randint(0, K, (count, *size)), truth, strict=True))


def slow_bilinear(scores: Tensor, size: tuple[int, int]) -> Tensor:
    """Half-pixel-centre bilinear interpolation of (K, h, w), one output pixel at a time, in float64."""
    height, width = scores.shape[-2:]
    out = torch.empty((scores.shape[0], *size), dtype=torch.float64)
    for i in range(size[0]):
        for j in range(size[1]):
            y = min(max((i + 0.5) * height / size[0] - 0.5, 0), height - 1)
            x = min(max((j + 0.5) * width / size[1] - 0.5, 0), width - 1)
            top, left = int(y), int(x)
            bottom, right = min(top + 1, height - 1), min(left + 1, width - 1)
            a, b = y - top, x - left
            s = scores.double()
            out[:, i, j] = (1 - a) * ((1 - b) * s[:, top, left] + b * s[:, top, right]) + a * (
                (1 - b) * s[:, bottom, left] + b * s[:, bottom, right]
            )
    return out


@pytest.mark.parametrize("as_list", [False, True])
def test_confusion_counts_each_pixel_at_the_labels_own_size(as_list: bool) -> None:
    """Scoring at the logits' size would hide thin objects and flatter every model."""
    logits = torch.randn(3, K, 4, 3)
    sizes = [(9, 8), (5, 11), (4, 3)] if as_list else [(9, 8)] * 3
    labels = [torch.randint(0, K, size) for size in sizes]
    labels[1][0, :3] = IGNORED
    expected = [
        slow_confusion(slow_bilinear(s, x.shape).argmax(0), x) for s, x in zip(logits, labels, strict=True)
    ]
    result = confusion_matrices(
        logits, labels if as_list else torch.stack(labels), num_labels=K, ignore_index=IGNORED
    )
    assert result.dtype == torch.int64
    assert result.tolist() == expected


def test_rows_are_truth_and_columns_are_predictions() -> None:
    """Transposed, precision would be published as accuracy."""
    logits = F.one_hot(torch.tensor([[1, 1]]), K).permute(2, 0, 1)[None].float()
    matrix = confusion_matrices(logits, torch.tensor([[[0, 1]]]), num_labels=K, ignore_index=IGNORED)[0]
    assert matrix[0, 1] == 1
    assert matrix[1, 1] == 1
    assert matrix.sum() == 2


def test_half_precision_logits_are_resized_in_single_precision() -> None:
    """Interpolated in bfloat16, near ties would fall to the first class."""
    logits = torch.randn(2, K, 3, 3).bfloat16()
    labels = torch.randint(0, K, (2, 40, 40))
    kwargs = {"num_labels": K, "ignore_index": IGNORED}
    assert torch.equal(
        confusion_matrices(logits, labels, **kwargs), confusion_matrices(logits.float(), labels, **kwargs)
    )


def test_only_one_image_at_a_time_is_resized(monkeypatch: pytest.MonkeyPatch) -> None:
    """150 classes at 2048 x 1024 are 1.3 GB an image: a batch would not fit."""
    seen = []
    resize = F.interpolate
    monkeypatch.setattr(F, "interpolate", lambda x, **kw: (seen.append(len(x)), resize(x, **kw))[1])
    confusion_matrices(
        torch.randn(5, K, 2, 2), torch.zeros(5, 4, 4).long(), num_labels=K, ignore_index=IGNORED
    )
    assert seen == [1] * 5


def test_an_empty_batch_gives_no_matrix() -> None:
    empty = torch.zeros(0, 4, 4).long()
    result = confusion_matrices(torch.randn(0, K, 2, 2), empty, num_labels=K, ignore_index=IGNORED)
    assert result.shape == (0, K, K)


@pytest.mark.parametrize("value", [-1, K, 254])
def test_a_label_outside_the_classes_is_named(value: int) -> None:
    """Counted modulo K or dropped, a wrong label file would quietly change every score."""
    labels = torch.zeros(1, 2, 2).long()
    labels[0, 1, 1] = value
    with pytest.raises(ValueError, match=rf"label must lie in \[0, 4\).*got {value};"):
        confusion_matrices(torch.randn(1, K, 2, 2), labels, num_labels=K, ignore_index=IGNORED)


@pytest.mark.parametrize(
    ("logits", "labels", "message"),
    [
        (
            torch.zeros(1, K + 1, 2, 2),
            torch.zeros(1, 2, 2).long(),
            r"`logits` must have shape \(B, 4, h, w\)",
        ),
        (torch.zeros(K, 2, 2), torch.zeros(1, 2, 2).long(), r"`logits` must have shape"),
        (torch.zeros(2, K, 2, 2), torch.zeros(1, 2, 2).long(), "1 maps for 2 images"),
        (torch.zeros(1, K, 2, 2), torch.zeros(1, 1, 2, 2).long(), r"maps of shape \(H, W\), got \(1, 2, 2\)"),
    ],
)
def test_wrong_shapes_are_named(logits: Tensor, labels: Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        confusion_matrices(logits, labels, num_labels=K, ignore_index=IGNORED)


def test_labels_that_are_not_integers_are_refused() -> None:
    """0.99999 would be counted as class 0."""
    with pytest.raises(TypeError, match=r"integers, got torch\.int64 predictions and torch\.float32 labels"):
        confusion_matrices(torch.zeros(1, K, 2, 2), torch.zeros(1, 2, 2), num_labels=K, ignore_index=IGNORED)


def test_scores_equal_the_set_definition() -> None:
    maps = random_maps(3)
    matrix = torch.tensor([slow_confusion(p, t) for p, t in maps]).sum(0)
    scores = scores_from_confusion(matrix)
    expected = [slow_iou(maps, k) for k in range(K)]
    assert scores["per_category_iou"] == pytest.approx(expected, abs=1e-12)
    assert scores["mean_iou"] == pytest.approx(sum(expected) / K, abs=1e-12)
    right = sum(int(((p == t) & (t != IGNORED)).sum()) for p, t in maps)
    total = sum(int((t != IGNORED).sum()) for _, t in maps)
    assert scores["overall_accuracy"] == pytest.approx(right / total, abs=1e-12)
    accuracies = [
        sum(int(((p == k) & (t == k)).sum()) for p, t in maps) / sum(int((t == k).sum()) for _, t in maps)
        for k in range(K)
    ]
    assert scores["per_category_accuracy"] == pytest.approx(accuracies, abs=1e-12)
    assert scores["mean_accuracy"] == pytest.approx(sum(accuracies) / K, abs=1e-12)


def test_a_class_without_pixels_is_left_out_of_the_mean() -> None:
    """Counted as 0 it would lower, counted as 1 it would raise, the mean of every small validation set."""
    # Class 0: 3 of 4 right. Class 1: never true, predicted once. Class 2: absent.
    scores = scores_from_confusion(np.array([[3, 1, 0], [0, 0, 0], [0, 0, 0]]))
    assert scores["per_category_iou"] == pytest.approx([0.75, 0.0, math.nan], nan_ok=True)
    assert scores["per_category_accuracy"] == pytest.approx([0.75, math.nan, math.nan], nan_ok=True)
    assert scores["mean_iou"] == 0.375
    assert scores["mean_accuracy"] == 0.75


def test_only_ignored_pixels_give_nan_and_no_crash() -> None:
    scores = scores_from_confusion(torch.zeros(K, K))
    assert all(math.isnan(scores[key]) for key in ("mean_iou", "mean_accuracy", "overall_accuracy"))


def test_counts_beyond_single_precision_are_exact() -> None:
    """In float32, one pixel more than 2 ** 24 disappears: CamVid's road alone has more."""
    big = 2**24
    scores = scores_from_confusion(torch.tensor([[big, 1], [0, big]]))
    assert scores["overall_accuracy"] == 2 * big / (2 * big + 1) != 1.0


@pytest.mark.parametrize("shape", [(3,), (2, 3), (2, 3, 3)])
def test_a_matrix_that_is_not_square_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"`matrix` must have shape \(K, K\)"):
        scores_from_confusion(torch.zeros(shape))


def test_streaming_equals_all_at_once() -> None:
    """Averaging per-batch scores instead of pooling pixels gives another number."""
    maps = random_maps(6)
    stream, whole = MeanIoU(K), MeanIoU(K)
    stream.add(prediction=maps[0][0], reference=maps[0][1])
    stream.add_batch(
        predictions=torch.stack([p for p, _ in maps[1:3]]), references=torch.stack([t for _, t in maps[1:3]])
    )
    stream.add_batch(
        predictions=[p.numpy() for p, _ in maps[3:4]], references=[t.numpy() for _, t in maps[3:4]]
    )
    matrices = torch.tensor([slow_confusion(p, t) for p, t in maps[4:]])
    stream.add_statistics(matrices[:1])
    stream.add_statistics(matrices[1:])
    assert len(stream) == 6
    expected = whole.compute(
        predictions=[p.tolist() for p, _ in maps], references=[t.tolist() for _, t in maps]
    )
    assert stream.compute() == expected
    assert expected["mean_iou"] == pytest.approx(np.mean([slow_iou(maps, k) for k in range(K)]), abs=1e-12)


def test_instances_share_nothing_and_start_afresh_after_compute() -> None:
    """Leftovers would mix one epoch's pixels into the next epoch's score."""
    first, second = MeanIoU(2), MeanIoU(2)
    first.add_batch(predictions=[[[0, 1]]], references=[[[0, 0]]])
    assert len(second) == 0
    assert first.compute()["mean_iou"] == 0.25
    first.add_batch(predictions=[[[0, 1]]], references=[[[0, 1]]])
    assert first.compute()["mean_iou"] == 1.0
    with pytest.raises(ValueError, match="at least one image, got none"):
        first.compute()


def test_memory_does_not_grow_with_images() -> None:
    metric = MeanIoU(K)
    metric.add_batch(predictions=torch.zeros(1, 2, 2).long(), references=torch.zeros(1, 2, 2).long())
    before = {name: value.numel() for name, value in vars(metric).items() if isinstance(value, Tensor)}
    metric.add_batch(predictions=torch.zeros(50, 2, 2).long(), references=torch.zeros(50, 2, 2).long())
    after = {name: value.numel() for name, value in vars(metric).items() if isinstance(value, Tensor)}
    assert before == after == {"_matrix": K * K}


def test_names_add_one_score_per_class() -> None:
    metric = MeanIoU(2, id2label={0: "sky", 1: "road"})
    scores = metric.compute(predictions=[[[0, 1]]], references=[[[0, 0]]])
    assert (scores["iou_sky"], scores["iou_road"]) == (0.5, 0.0)


def test_the_ignored_label_is_the_metrics_own() -> None:
    metric = MeanIoU(2, ignore_index=0)
    assert metric.compute(predictions=[[[1, 1]]], references=[[[0, 1]]])["overall_accuracy"] == 1.0


def test_an_ignored_class_id_is_no_class_in_the_mean() -> None:
    """A model that predicts it anywhere would have one class of IoU 0 more than the data have classes."""
    random = np.random.default_rng(0)
    truth, predicted = random.integers(0, 3, (2, 4, 9, 7))
    ious = []
    for one in (1, 2):
        right, true = ((truth == one) & (predicted == one)).sum(), (truth == one).sum()
        ious.append(right / (true + ((predicted == one) & (truth != 0)).sum() - right))
    metric = MeanIoU(3, ignore_index=0, id2label={0: "background", 1: "cat", 2: "dog"})
    scores = metric.compute(predictions=predicted, references=truth)
    assert scores["mean_iou"] == pytest.approx(np.mean(ious))
    assert (scores["iou_cat"], scores["iou_dog"]) == pytest.approx(tuple(ious))
    assert np.isnan([scores["iou_background"], scores["per_category_accuracy"][0]]).all()


def test_constructing_a_metric_leaves_the_global_random_state_alone() -> None:
    before = np.random.get_state()[1].copy()
    MeanIoU(2)
    assert (np.random.get_state()[1] == before).all()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: MeanIoU(0), "`num_labels` must be at least 1, got 0"),
        (lambda: MeanIoU(2, id2label={0: "sky"}), "must name each class 0 to 1 once"),
        (lambda: MeanIoU(2, id2label={0: "a", 1: "a"}), "must name each class 0 to 1 once"),
        (lambda: MeanIoU(2).add_statistics(torch.zeros(1, 3, 3)), r"\(B, 2, 2\), got \(1, 3, 3\)"),
        (lambda: MeanIoU(2).add_statistics(torch.zeros(2, 2)), r"\(B, 2, 2\), got \(2, 2\)"),
        (lambda: MeanIoU(2).add_batch(predictions=[[[0]]], references=[]), "the same length, got 1 and 0"),
        (
            lambda: MeanIoU(2).add(prediction=[[0, 1]], reference=[[0]]),
            r"the same size, got \(1, 2\) and \(1, 1\)",
        ),
        (lambda: MeanIoU(2).add(prediction=[[2]], reference=[[0]]), "prediction must lie in"),
    ],
)
def test_wrong_calls_are_named(call, message) -> None:
    with pytest.raises(ValueError, match=message):
        call()


def test_wrong_types_are_named() -> None:
    with pytest.raises(TypeError, match="must both be given, got list and None"):
        MeanIoU(2).add_batch(predictions=[[[0]]])
    with pytest.raises(TypeError, match="must be integers"):
        MeanIoU(2).add(prediction=[[0.5]], reference=[[0]])
