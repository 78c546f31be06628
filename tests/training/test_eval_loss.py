"""The validation loss is a mean over what is labelled."""

from __future__ import annotations

from pathlib import Path

import pytest

from ..cases import ALONE, DEPTH, SEGMENTATION, Rows, TaskCase, arguments, make_trainer
from .test_unlabelled import without_labels


@pytest.mark.parametrize("case", [SEGMENTATION, DEPTH], ids=lambda case: case.name)
def test_images_without_labels_do_not_lower_the_validation_loss(case: TaskCase, tmp_path: Path) -> None:
    """Each of them counted as a loss of 0, so that the worst-labelled data had the best model."""
    args = arguments(tmp_path, **ALONE, per_device_eval_batch_size=1)
    trainer = make_trainer(case, args)
    labelled = case.rows(2)
    alone = trainer.evaluate(labelled)["eval_loss"]
    assert alone > 0
    mixed = trainer.evaluate(Rows([*labelled.rows, *without_labels(case, 3).rows]))["eval_loss"]
    assert mixed == pytest.approx(alone, rel=1e-5)
