"""The part of the trainer that writes the report and the card, and speaks to the Hub."""

from __future__ import annotations

from typing import Any

from transformers import Trainer

from ..card import RunNotes, write_card
from ..hub.pushing import Pusher
from ..report import ReportPage
from .showing import show_run


class PublishingTrainer(Trainer):
    """Write report and card, and push to the Hub; Trainer itself hides failed pushes and pickles the token.

    Attributes:
        run_notes: What the card says and a trainer does not know: the data, the command, the comparison.
    """

    run_notes: RunNotes | None = None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Open the repository, where one is wanted, while Trainer is made."""
        self._pusher = Pusher()
        super().__init__(*args, **kwargs)

    def show(self, alone: Trainer | None = None) -> ReportPage:
        """Write the figures and `report.html`, and return the page for a notebook; see `show_run`."""
        return show_run(self, alone)

    def create_model_card(self, language: str | None = None, **overrides: Any) -> None:
        """Write `README.md` into `output_dir`, on the first process; see `card.write_card`."""
        if self.is_world_process_zero():
            write_card(self, self.run_notes, language=language, **overrides)

    def init_hf_repo(self, token: str | None = None, private: bool | None = None) -> None:
        """Open the repository, with a sentence where the Hub refuses; keeps Trainer's contract."""
        self._pusher.open(self, token=token, private=private)

    def push_to_hub(self, commit_message: str | None = "End of training", *args: Any, **kwargs: Any) -> Any:
        """Save the student, write its card and push the folder, but no checkpoints; see `hub.Pusher.push`."""
        return self._pusher.push(self, commit_message, *args, **kwargs)

    def _push_from_checkpoint(self, checkpoint_folder: str) -> None:
        """Push a fresh checkpoint in the background, as `hub_strategy` says; a failure is logged."""
        self._pusher.push_checkpoint(self, checkpoint_folder)

    def _finish_current_push(self) -> None:
        """Wait for the pushes in the background and say which of them failed."""
        super()._finish_current_push()
        self._pusher.report_failures(self.args)
