"""A Trainer that writes its student's card: Trainer's own leaves the results of these tasks empty."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, cast

from transformers import Trainer

if TYPE_CHECKING:
    from ..card.card import RunNotes
    from .trainer import StructKDTrainer


class CardTrainer(Trainer):
    """Writes the card of `report.card`.

    Attributes:
        run_notes: What the card says and a trainer does not know: the data, the command, the comparison.
    """

    run_notes: RunNotes | None = None

    def create_model_card(
        self,
        language: str | None = None,
        license: str | None = None,
        tags: str | Sequence[str] | None = None,
        model_name: str | None = None,
        finetuned_from: str | None = None,
        tasks: str | Sequence[str] | None = None,
        dataset_tags: str | Sequence[str] | None = None,
        dataset: str | Sequence[str] | None = None,
        dataset_args: str | Sequence[str] | None = None,
    ) -> None:
        """Write `README.md` into `output_dir`.

        Keeps Trainer's contract: every process may call it, the first one writes; what is given here wins
        over what the run says. See `report.card.with_overrides`.
        """
        if not self.is_world_process_zero():
            return
        # Here, because what reads a finished run stands above what trains.
        from ..card.card import card_facts, model_card, with_overrides

        facts = with_overrides(
            card_facts(cast("StructKDTrainer", self), self.run_notes),
            language=language,
            license=license,
            tags=tags,
            model_name=model_name,
            finetuned_from=finetuned_from,
            tasks=tasks,
            dataset_tags=dataset_tags,
            dataset=dataset,
            dataset_args=dataset_args,
        )
        model_card(facts).save(Path(str(self.args.output_dir)) / "README.md")
