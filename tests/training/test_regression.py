"""Twenty steps of every task with every preset give the numbers that they gave before the terms were objects.

The numbers were printed by the code of commit ef79119, in which each term had a home of its own. On the
machine that printed them, the weights of this code are equal to those bit for bit. Here they are compared
with a tolerance, because another processor rounds otherwise.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from hf_structkd import StructKDTrainingArguments

from ..cases import CASES, make_trainer

# Sum of the absolute values of all weights after the last step; means over the steps of the four terms.
BEFORE = {
    ("segmentation", "paper"): (2267.228628, 1.696176, 0.115884, 0.064606, 0.006449),
    ("segmentation", "official"): (2266.898206, 1.728354, 0.099619, 0.007410, 0.012455),
    ("segmentation", "cirkd"): (2267.327985, 1.658433, 0.155846, 0.034004, 0.327407),
    ("depth", "paper"): (2555.096778, 0.517285, 1.422448, 0.016431, 3.702456),
    ("depth", "official"): (2555.217501, 0.515723, 1.419582, 0.018464, 0.097189),
    ("depth", "cirkd"): (2555.002825, 0.508605, 1.426113, 0.012067, 1.362043),
    ("detection", "paper"): (1993.911725, 5.670192, 5.403808, 0.099086, -0.012319),
    ("detection", "official"): (1994.216818, 5.935885, 5.352411, 0.021500, 0.009514),
    ("detection", "cirkd"): (1994.355139, 4.637863, 6.243200, 0.041894, 0.237887),
}


# Each task and each preset once; the others with the long tests.
ALWAYS = (("segmentation", "paper"), ("depth", "official"), ("detection", "cirkd"))


@pytest.mark.usefixtures("published_critic")
@pytest.mark.parametrize(
    ("task", "preset"),
    [pytest.param(*pair, marks=[] if pair in ALWAYS else pytest.mark.long) for pair in BEFORE],
)
def test_a_preset_trains_as_before_the_terms_were_objects(task: str, preset: str, tmp_path: Path) -> None:
    """Else every published figure is of another method."""
    torch.manual_seed(0)
    case = next(case for case in CASES if case.name == task)
    args = StructKDTrainingArguments.from_preset(
        preset,
        output_dir=str(tmp_path),
        max_steps=20,
        per_device_train_batch_size=4,
        learning_rate=1e-3,
        logging_steps=20,
        save_strategy="no",
        use_cpu=True,
        disable_tqdm=True,
        dataloader_pin_memory=False,
        report_to="none",
    )
    trainer = make_trainer(case, args)
    trainer.train()
    log = next(log for log in trainer.state.log_history if "loss" in log)
    weights = [value for value in trainer.model.state_dict().values() if value.is_floating_point()]
    total, *terms = BEFORE[task, preset]
    assert sum(value.double().abs().sum().item() for value in weights) == pytest.approx(total, rel=1e-5)
    logged = [log[f"loss_{term}"] for term in ("task", "pixel", "pairwise", "holistic")]
    assert logged == pytest.approx(terms, rel=1e-2, abs=1e-3)
