"""A Trainer that pushes without losing a student, an error or a token."""

from __future__ import annotations

import copy
import shutil
from concurrent.futures import Future
from functools import partial
from pathlib import Path
from typing import Any

from huggingface_hub import CommitInfo, HfApi
from transformers import Trainer, TrainingArguments
from transformers.trainer_utils import HubStrategy
from transformers.utils import logging
from transformers.utils.hub import PushInProgress

from .access import NOT_PUSHED, open_repository, push_target, reason, upload_command

logger = logging.get_logger(__name__)

# What makes up the student in a checkpoint; the rest is there to resume from, the critic among it.
_STUDENT_FILES = (
    "config.json",
    "generation_config.json",
    "*processor_config.json",
    "model*.safetensors*",
    "training_args.bin",
)


class PushError(RuntimeError):
    """A push failed; the student is saved, and the message ends with the command that pushes it again."""


class SafePushTrainer(Trainer):
    """Pushes as Trainer does, but reports what fails, keeps other runs' weights back and tells no token.

    Trainer swallows the errors of pushes in the background, writes `hub_token` into `training_args.bin`,
    which it pushes, and pushes whatever folders lie in `output_dir`.
    """

    args: TrainingArguments

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """As Trainer, which opens the repository in here."""
        # One worker does the pushes in their order; with each goes the step it was started at.
        self._hub = HfApi(library_name="hf_structkd")
        self._pushes: list[tuple[int, Future[CommitInfo]]] = []
        super().__init__(*args, **kwargs)

    def init_hf_repo(self, token: str | None = None, private: bool | None = None) -> None:
        """Open the repository, with a sentence where the Hub refuses.

        Keeps Trainer's contract: the first process sets `hub_model_id` and `push_in_progress`.
        """
        if self.is_world_process_zero():
            self.hub_model_id = open_repository(self.args, token=token, private=private)
            self.push_in_progress = None

    def push_to_hub(
        self,
        commit_message: str | None = "End of training",
        blocking: bool = True,
        token: str | None = None,
        revision: str | None = None,
        private: bool | None = None,
        **kwargs: Any,
    ) -> Any:
        """Save the student, write its card and push the folder, but neither checkpoints nor the one alone.

        Keeps Trainer's contract, by which all processes call it.

        Args:
            commit_message: Title of the commit.
            blocking: Whether to wait until the push is done.
            token: In place of `args.hub_token`.
            revision: Branch, in place of `args.hub_revision`.
            private: Whether a repository that is yet to be made is private.
            **kwargs: Passed to `create_model_card`.

        Returns:
            The commit, or its future if not `blocking`; None in all processes but the first.

        Raises:
            PushError: If the Hub did not take it; the student is in `output_dir` then.
        """
        self.callback_handler.on_push_begin(self.args, self.state, self.control)
        self.save_model(_internal_call=True)
        if not self.is_world_process_zero():
            return None
        self._finish_current_push()
        revision = revision or self.args.hub_revision
        try:
            if self.hub_model_id is None:
                self.init_hf_repo(token=token, private=private)
            self.create_model_card(**{"model_name": str(self.hub_model_id).split("/")[-1], **kwargs})
            return self._upload(
                self.args.output_dir, commit_message, token=token, revision=revision, background=not blocking
            )
        except Exception as error:  # whatever it was: the training is over, and its student must be found
            command = upload_command(
                self.hub_model_id or push_target(self.args),
                str(self.args.output_dir),
                revision=revision,
                private=self.args.hub_private_repo if private is None else private,
            )
            raise PushError(
                f"the student is saved in {self.args.output_dir}, but could not be pushed: {reason(error)}. "
                f"This finishes the push:\n{command}"
            ) from error

    def _save(self, output_dir: str | None = None, state_dict: dict[str, Any] | None = None) -> None:
        """Save as Trainer does, while `args`, which it pickles, hold no token."""
        args = self.args
        self.args = copy.copy(args)
        self.args.hub_token = None
        try:
            super()._save(output_dir, state_dict)
        finally:
            self.args = args

    def _push_from_checkpoint(self, checkpoint_folder: str) -> None:
        """Push a fresh checkpoint in the background, as `hub_strategy` says; a failure is logged.

        Keeps Trainer's contract: while a push is under way the next one is left out, which is logged, unless
        `hub_always_push`. Training then waits for it: it reads the files that the next one replaces.
        """
        if not self.is_world_process_zero() or self.args.hub_strategy == HubStrategy.END:
            return
        step = self.state.global_step
        if self.push_in_progress is not None and not self.push_in_progress.is_done():
            if not self.args.hub_always_push:
                logger.warning(
                    "Step %d is not pushed: the push before it is still under way, and only "
                    "`hub_always_push` waits for it.",
                    step,
                )
                return
            self.push_in_progress.wait_until_done()
        self.callback_handler.on_push_begin(self.args, self.state, self.control)
        # The checkpoint may be rotated away before it is read.
        for path in (path for name in _STUDENT_FILES for path in Path(checkpoint_folder).glob(name)):
            shutil.copy(path, str(self.args.output_dir))
        message = f"Training in progress, step {step}"
        jobs = [self._upload(self.args.output_dir, message, background=True)]
        if self.args.hub_strategy in (HubStrategy.CHECKPOINT, HubStrategy.ALL_CHECKPOINTS):
            only_last = self.args.hub_strategy == HubStrategy.CHECKPOINT
            name = "last-checkpoint" if only_last else Path(checkpoint_folder).name
            jobs.append(
                self._upload(checkpoint_folder, f"{message}, checkpoint", path_in_repo=name, background=True)
            )
        for job in jobs:
            job.add_done_callback(partial(_log_failure, step))
        self._pushes += [(step, job) for job in jobs]
        self.push_in_progress = PushInProgress([job for _, job in self._pushes])

    def _finish_current_push(self) -> None:
        """Wait for the pushes in the background and say which of them failed."""
        super()._finish_current_push()
        failed = [f"step {step}: {reason(error)}" for step, job in self._pushes if (error := job.exception())]
        self._pushes = []
        if failed:
            logger.error(
                "%d of the pushes during training failed (%s); what they were to push is in %s.",
                len(failed),
                "; ".join(failed),
                self.args.output_dir,
            )

    def _upload(
        self,
        folder: str | None,
        message: str | None,
        *,
        path_in_repo: str | None = None,
        token: str | None = None,
        revision: str | None = None,
        background: bool = False,
    ) -> Any:
        """The commit, or its future in the background."""
        options: dict[str, Any] = {
            "repo_id": self.hub_model_id,
            "folder_path": folder,
            "path_in_repo": path_in_repo,
            "commit_message": message,
            "token": token or self.args.hub_token,
            "revision": revision or self.args.hub_revision,
            "ignore_patterns": list(NOT_PUSHED),
            "run_as_future": background,
        }
        return self._hub.upload_folder(**options)


def _log_failure(step: int, job: Future[CommitInfo]) -> None:
    error = job.exception()
    if error is not None:
        logger.error("The push at step %d failed, training goes on: %s.", step, reason(error))
