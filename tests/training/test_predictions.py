"""What `predict` returns is what the student says of each image."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from hf_structkd.losses.boxes import box_corners

from ..cases import ALONE, CASES, DETECTION, SEGMENTATION, Rows, TaskCase, arguments, make_trainer
from ..evaluation_worker import uneven_rows

over_tasks = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)


def said(model: nn.Module, row: dict[str, Any], case: TaskCase) -> Any:
    """Return what a model says of one image: classes, metres, or the boxes of its most likely classes."""
    with torch.no_grad():
        output = model.eval()(pixel_values=row["pixel_values"][None])
    if case is DETECTION:
        # YOLOS: each query is its best class but "no object", and boxes are shares of the 64 x 64 image.
        scores, labels = output.logits[0].softmax(-1)[:, :-1].max(-1)
        order = scores.argsort(descending=True, stable=True)
        boxes = 64 * box_corners(output.pred_boxes[0])
        return {"scores": scores[order], "labels": labels[order], "boxes": boxes[order]}
    maps = output.logits if case is SEGMENTATION else output.predicted_depth[:, None]
    size = row["labels"].shape[-2:] if "labels" in row else row["pixel_values"].shape[-2:]
    maps = nn.functional.interpolate(maps, size=tuple(size), mode="bilinear", align_corners=False)
    return maps[0].argmax(0) if case is SEGMENTATION else maps[0, 0]


def assert_same(found: Any, expected: Any) -> None:
    if isinstance(expected, dict):
        assert set(expected) <= set(found)
        for name, value in expected.items():
            np.testing.assert_allclose(found[name], value, rtol=1e-4, atol=1e-4)
    else:
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


@over_tasks
def test_predictions_and_labels_are_those_of_each_image(case: TaskCase, tmp_path: Path) -> None:
    """Else `predictions` are confusion matrices and `label_ids` zeros, which nobody can show or score."""
    rows = uneven_rows(case, 5)
    trainer = make_trainer(case, arguments(tmp_path, **ALONE, per_device_eval_batch_size=2))
    output = trainer.predict(rows)
    assert len(output.predictions) == len(output.label_ids) == 5
    for row, found, labels in zip(rows.rows, output.predictions, output.label_ids, strict=True):
        assert_same(found, said(trainer.model, row, case))
        assert_same(labels, row["labels"])
    assert output.metrics[case.metric.replace("eval_", "test_")] == pytest.approx(
        trainer.evaluate(rows)[case.metric], nan_ok=True
    )


@over_tasks
def test_images_without_labels_are_predicted(case: TaskCase, tmp_path: Path) -> None:
    """Else the student is of no use where it is needed: on images that nobody has labelled."""
    rows = Rows([{"pixel_values": row["pixel_values"]} for row in case.rows(3).rows])
    args = arguments(tmp_path, **ALONE, per_device_eval_batch_size=2, eval_do_concat_batches=False)
    trainer = make_trainer(case, args)
    output = trainer.predict(rows)
    assert output.label_ids is None
    assert not any(name.endswith(("_loss", case.metric[5:])) for name in output.metrics)
    assert [len(batch) for batch in output.predictions] == [2, 1]  # as `eval_do_concat_batches` asks for
    streamed = [one for part in trainer.predict_batches(rows) for one in part.predictions]
    whole = [one for batch in output.predictions for one in batch]
    for row, found, same in zip(rows.rows, whole, streamed, strict=True):
        assert_same(found, said(trainer.model, row, case))
        assert_same(same, said(trainer.model, row, case))


def test_predicting_batches_may_stop_early(tmp_path: Path) -> None:
    """Else accelerate believes itself inside a loader, and later gathers cut what they gather."""
    trainer = make_trainer(SEGMENTATION, arguments(tmp_path, **ALONE, per_device_eval_batch_size=2))
    before = trainer.evaluate()["eval_mean_iou"]
    parts = trainer.predict_batches(SEGMENTATION.rows(4))
    next(iter(parts))
    parts.close()
    assert trainer.accelerator.gradient_state.in_dataloader is False
    assert trainer.evaluate()["eval_mean_iou"] == before


def test_a_callers_functions_get_logits_and_labels_as_with_trainer(tmp_path: Path) -> None:
    """Else the metric of every other script fails here, or scores confusion matrices."""
    seen: list[Any] = []

    def preprocess(logits: Any, labels: Any) -> Any:
        seen.append((tuple(logits.shape), tuple(labels.shape)))
        return logits.argmax(1)

    def metric(prediction: Any) -> dict[str, float]:
        seen.append((prediction.predictions.shape, prediction.label_ids.shape))
        return {"mean": float(prediction.predictions.mean())}

    rows, args = SEGMENTATION.rows(3), arguments(tmp_path, **ALONE, per_device_eval_batch_size=2)
    options: dict[str, Any] = {"preprocess_logits_for_metrics": preprocess}
    trainer = make_trainer(SEGMENTATION, args, compute_metrics=metric, **options)
    output = trainer.predict(rows)
    small, labels = (16, 16), (64, 64)
    batches = [((2, 5, *small), (2, *labels)), ((1, 5, *small), (1, *labels))]
    assert seen == [*batches, ((3, *small), (3, *labels))]
    assert output.metrics["test_mean"] == output.predictions.mean() == trainer.evaluate(rows)["eval_mean"]
    # Without a metric of the caller's, the task's own takes statistics, which are no logits to prepare.
    seen.clear()
    trainer = make_trainer(SEGMENTATION, args, **options)
    assert 0 <= trainer.evaluate(rows)["eval_mean_iou"] <= 1
    assert seen == []
    assert trainer.predict(rows).predictions.shape == (3, *small)
    assert seen == batches


@over_tasks
def test_labels_that_trainer_would_mix_are_refused(case: TaskCase, tmp_path: Path) -> None:
    """Else the first image of every batch shares one label with the first of the others, padded."""
    rows, args = uneven_rows(case, 5), arguments(tmp_path, **ALONE, per_device_eval_batch_size=2)
    trainer = make_trainer(case, args, compute_metrics=lambda prediction: {"any": 1.0})
    for use in (trainer.evaluate, trainer.predict):
        with pytest.raises(ValueError, match="`eval_do_concat_batches` must be False"):
            use(rows)
    args.eval_do_concat_batches = False
    found = trainer.predict(rows)
    assert [len(labels) for labels in found.label_ids] == [2, 2, 1]
