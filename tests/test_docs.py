"""The code in the documentation runs as it stands."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch

from hf_structkd.terms import Term

from .cases import SEGMENTATION, arguments, make_trainer

PAGE = Path(__file__).parents[1] / "docs" / "extending.md"


# PEFT reads a property that transformers has deprecated.
pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")


@pytest.fixture(scope="module")
def namespace(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the blocks of the page leave behind, run one after the other."""
    folder = tmp_path_factory.mktemp("docs")
    names: dict[str, Any] = {"__name__": "__main__"}
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert len(blocks) == 3
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        torch.manual_seed(0)
        for block in blocks:
            exec(compile(block, str(PAGE), "exec"), names)
    return names


def test_the_search_on_the_page_finds_a_trial(namespace: dict[str, Any]) -> None:
    assert set(namespace["best"].hyperparameters) == {"pairwise_weight", "learning_rate"}
    assert namespace["args"].pixel_weight == pytest.approx(0.4), "the warm-up did not reach the arguments"


def test_the_adapters_on_the_page_are_merged_into_a_plain_student(namespace: dict[str, Any]) -> None:
    student, plain = namespace["merged"], namespace["segformer"](8)
    assert student.state_dict().keys() == plain.state_dict().keys()


def test_the_term_on_the_page_trains(namespace: dict[str, Any], tmp_path: Path) -> None:
    term: Term = namespace["ConfidenceTerm"](2.0, floor=0.1)
    unset = {"pixel_weight": None, "pairwise_weight": None, "holistic_weight": None}
    trainer = make_trainer(SEGMENTATION, arguments(tmp_path, max_steps=1, **unset), terms=[term])
    trainer.train()
    log = trainer.state.log_history[0]
    assert log["loss"] == pytest.approx(log["loss_task"] + 2 * log["loss_confidence"], rel=1e-5)
