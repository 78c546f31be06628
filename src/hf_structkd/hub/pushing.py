"""Push a student to the Hub; the student, every error and the token are kept."""

from __future__ import annotations

import copy
import json
import re
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from huggingface_hub import CommitInfo, HfApi
from transformers import TrainingArguments
from transformers.trainer_utils import HubStrategy
from transformers.utils import logging
from transformers.utils.hub import PushInProgress

from ..features import has_adapters
from .access import NOT_PUSHED, open_repository, push_target, reason, upload_command

logger = logging.get_logger(__name__)

# The files of a checkpoint that make up the student; the others, such as the critic, serve to resume.
_STUDENT_FILES = (
    "config.json",
    "generation_config.json",
    "*processor_config.json",
    "model*.safetensors*",
    "adapter_*",
    "*.py",
    "training_args.bin",
)


# A folder of the client's cache: the owner, the name and the commit.
_CACHED = re.compile(r"models--([^/]+?)--([^/]+)/snapshots/(\w+)")


class PushError(RuntimeError):
    """A push failed; the student is saved, and the message ends with the command that pushes it again."""


class PushedRun(Protocol):
    """What a push reads and calls of a trainer, whose names these are."""

    args: Any
    model: Any
    state: Any
    control: Any
    callback_handler: Any
    hub_model_id: str | None
    push_in_progress: Any

    is_world_process_zero: Callable[[], bool]
    save_model: Callable[..., None]
    create_model_card: Callable[..., None]
    _finish_current_push: Callable[[], None]


class Pusher:
    """Upload a run's folder and its checkpoints, one after the other in the background.

    It takes the place of Trainer's own pushes, which swallow the errors of the background and take along
    every folder in `output_dir`.
    """

    def __init__(self) -> None:
        """Start without a push."""
        # One worker does the pushes in their order; each is kept with the step that started it.
        self._hub = HfApi(library_name="hf_structkd")
        self._pushes: list[tuple[int, Future[CommitInfo]]] = []

    def open(self, run: PushedRun, *, token: str | None, private: bool | None) -> None:
        """Open the run's repository on the first process; see `open_repository`."""
        if run.is_world_process_zero():
            run.hub_model_id = open_repository(run.args, token=token, private=private)
            run.push_in_progress = None

    def push(
        self,
        run: PushedRun,
        message: str | None,
        blocking: bool = True,
        token: str | None = None,
        revision: str | None = None,
        *,
        private: bool | None = None,
        **card: Any,
    ) -> Any:
        """Save the student, write its card and push the folder, without checkpoints and the student alone.

        Every process calls it.

        Args:
            run: The trainer.
            message: Title of the commit.
            blocking: Whether to wait until the push is done.
            token: Replaces `args.hub_token`.
            revision: Branch; replaces `args.hub_revision`.
            private: Whether a new repository is private.
            **card: Passed to `create_model_card`.

        Returns:
            The commit, or its future if not `blocking`; None in all processes but the first.

        Raises:
            PushError: If the push failed; the student is in `output_dir` then.
        """
        run.callback_handler.on_push_begin(run.args, run.state, run.control)
        run.save_model(_internal_call=True)
        if not run.is_world_process_zero():
            return None
        run._finish_current_push()
        name_base(Path(str(run.args.output_dir)))
        revision = revision or run.args.hub_revision
        try:
            if run.hub_model_id is None:
                self.open(run, token=token, private=private)
            run.create_model_card(**{"model_name": str(run.hub_model_id).split("/")[-1], **card})
            options = {"token": token or run.args.hub_token, "revision": revision}
            return self._upload(run, message, run_as_future=not blocking, **options)
        except Exception as error:  # of any type, because the training is over and its student must be found
            folder, target = run.args.output_dir, run.hub_model_id or push_target(run.args)
            private = run.args.hub_private_repo if private is None else private
            stale = _of_the_other_kind(run)
            command = upload_command(target, folder, revision=revision, private=private, exclude=stale)
            raise PushError(
                f"the student is saved in {folder}, but could not be pushed: {reason(error)}. "
                f"This finishes the push:\n{command}"
            ) from error

    def push_checkpoint(self, run: PushedRun, folder: str) -> None:
        """Push a fresh checkpoint in the background, as `hub_strategy` says; a failure is logged.

        While a push is under way the next one is left out, which is logged. With `hub_always_push` training
        waits instead, because the push under way reads the files that the next one replaces.
        """
        args, step = run.args, run.state.global_step
        if not run.is_world_process_zero() or args.hub_strategy == HubStrategy.END:
            return
        if run.push_in_progress is not None and not run.push_in_progress.is_done():
            if not args.hub_always_push:
                logger.warning(
                    "Step %d is not pushed: the push before it is still under way, and only "
                    "`hub_always_push` waits for it.",
                    step,
                )
                return
            run.push_in_progress.wait_until_done()
        run.callback_handler.on_push_begin(args, run.state, run.control)
        # The files are copied, because the checkpoint may be rotated away before it is read.
        for path in (path for name in _STUDENT_FILES for path in Path(folder).glob(name)):
            shutil.copy(path, str(args.output_dir))
        name_base(Path(str(args.output_dir)))
        message = f"Training in progress, step {step}"
        jobs = [self._upload(run, message)]
        if args.hub_strategy in (HubStrategy.CHECKPOINT, HubStrategy.ALL_CHECKPOINTS):
            only_last = args.hub_strategy == HubStrategy.CHECKPOINT
            name = "last-checkpoint" if only_last else Path(folder).name
            jobs.append(self._upload(run, f"{message}, checkpoint", folder_path=folder, path_in_repo=name))
        for job in jobs:
            job.add_done_callback(partial(_log_failure, step))
        self._pushes += [(step, job) for job in jobs]
        run.push_in_progress = PushInProgress([job for _, job in self._pushes])

    def report_failures(self, args: TrainingArguments) -> None:
        """Wait for the pushes in the background and log which of them failed."""
        failed = [f"step {step}: {reason(error)}" for step, job in self._pushes if (error := job.exception())]
        self._pushes = []
        if failed:
            logger.error(
                "%d of the pushes during training failed (%s); what they were to push is in %s.",
                len(failed),
                "; ".join(failed),
                args.output_dir,
            )

    def _upload(self, run: PushedRun, message: str | None, **options: Any) -> Any:
        """Upload a folder, by default that of the run, and return the commit or its future."""
        stale = _of_the_other_kind(run)
        settings: dict[str, Any] = {
            "repo_id": run.hub_model_id,
            "folder_path": run.args.output_dir,
            "commit_message": message,
            "token": run.args.hub_token,
            "revision": run.args.hub_revision,
            "ignore_patterns": [*NOT_PUSHED, *stale],
            "delete_patterns": stale or None,
            "run_as_future": True,
        }
        return self._hub.upload_folder(**{**settings, **options})


@contextmanager
def token_hidden(run: PushedRun) -> Iterator[None]:
    """Give the run, while it writes its arguments to disk, arguments without the Hub's token."""
    args = run.args
    run.args = copy.copy(args)
    run.args.hub_token = None
    try:
        yield
    finally:
        run.args = args


def name_base(folder: Path) -> None:
    """Let adapters that are pushed name their base model on the Hub, where its folder tells; else warn.

    PEFT writes the folder that the base was loaded from, which nobody else has.
    """
    path = folder / "adapter_config.json"
    settings = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    base = str(settings.get("base_model_name_or_path") or "")
    if not Path(base).is_dir():
        return
    if cached := _CACHED.search(Path(base).as_posix()):
        settings |= {"base_model_name_or_path": f"{cached[1]}/{cached[2]}", "revision": cached[3]}
        path.write_text(json.dumps(settings, indent=2, sort_keys=True) + "\n", encoding="utf-8")
        return
    logger.warning_once(
        f"The adapters name the folder {base} as their base model, which others do not have: push the base, "
        "and write its id into `base_model_name_or_path` of adapter_config.json, or merge the adapters."
    )


def _of_the_other_kind(run: PushedRun) -> list[str]:
    """Return patterns of the student's files from before its adapters were merged or added.

    Where a repository holds both, transformers looks for the base of the adapters instead of the student.
    """
    patterns = ("config.json", "model*.safetensors*") if has_adapters(run.model) else ("adapter_*",)
    return [pattern for pattern in patterns if any(Path(str(run.args.output_dir)).glob(pattern))]


def _log_failure(step: int, job: Future[CommitInfo]) -> None:
    error = job.exception()
    if error is not None:
        logger.error("The push at step %d failed, training goes on: %s.", step, reason(error))
