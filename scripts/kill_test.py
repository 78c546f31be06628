"""Kill trainings at random moments, resume them, and compare them with an uninterrupted run, bit for bit.

    OMP_NUM_THREADS=1 python scripts/kill_test.py --kills 50 --seed 0

trains a tiny pair of each task on embedded scenes, through the functions behind the examples. A training is a
forked process that is sent SIGKILL in a step, in an evaluation or while a checkpoint is written, and is
started again with the same arguments, until it ends. The student, the critic, both optimisers and schedules,
the random states, the logs and the final scores must equal those of a run that nobody killed; times and
Trainer's `train_loss`, which covers the last start alone, are left out. Exit status 1 says that one differs.
"""

from __future__ import annotations

import argparse
import json
import mmap
import os
import random
import signal
import struct
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors.torch import load_file
from transformers import GLPNConfig, PretrainedConfig, SegformerConfig, YolosConfig

from hf_structkd.cli.distil import Experiment
from hf_structkd.cli.script_args import parse_run
from hf_structkd.scenes.scenes import CLASS_NAMES, OBJECT_CLASS_NAMES
from hf_structkd.tasks import DepthTask, DetectionTask, SegmentationTask, Task
from hf_structkd.training.manifest import what_is_missing
from hf_structkd.training.trainer import StructKDTrainer

STEPS = 6
# What the child is doing, and the method of the trainer that does it.
MOMENTS = {"a step": "training_step", "evaluation": "evaluation_loop", "a checkpoint": "_save_checkpoint"}
_STAGES = {
    "depths": [1] * 4,
    "hidden_sizes": [8, 8, 16, 16],
    "num_attention_heads": [1, 1, 2, 2],
    "mlp_ratios": [2] * 4,
}
_VIT = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
_LABELS = {SegmentationTask: CLASS_NAMES, DetectionTask: OBJECT_CLASS_NAMES, DepthTask: ()}


def _config(task: type[Task]) -> PretrainedConfig:
    labels = {"id2label": dict(enumerate(_LABELS[task]))} if _LABELS[task] else {}
    if task is SegmentationTask:
        return SegformerConfig(**_STAGES, **labels, decoder_hidden_size=12)
    if task is DepthTask:
        return GLPNConfig(**_STAGES, decoder_hidden_size=8)
    return YolosConfig(**_VIT, **labels, image_size=[64, 64], patch_size=8, num_detection_tokens=10)


class Progress:
    """Numbers that a training writes and its parent reads: how often each moment came, and which is now."""

    def __init__(self) -> None:
        """Share the memory with the processes that are forked later."""
        self._memory = mmap.mmap(-1, 8 * (len(MOMENTS) + 1))

    def clear(self) -> None:
        """Begin a new process."""
        self._memory[:] = bytes(len(self._memory))

    def enter(self, moment: int) -> None:
        """Count a moment, which begins now."""
        self._write(1 + moment, self.count(moment) + 1)
        self._write(0, 1 + moment)

    def leave(self) -> None:
        """Say that none of the moments is now."""
        self._write(0, 0)

    def count(self, moment: int) -> int:
        """Return how often a moment has begun."""
        return int(struct.unpack_from("q", self._memory, 8 * (1 + moment))[0])

    def now(self) -> str:
        """Name what the process is doing."""
        number = struct.unpack_from("q", self._memory, 0)[0]
        return ("between", *MOMENTS)[number]

    def _write(self, place: int, value: int) -> None:
        struct.pack_into("q", self._memory, 8 * place, value)

    def watch(self) -> None:
        """Let the trainer's methods say when they run; nothing else about them changes."""
        for number, name in enumerate(MOMENTS.values()):
            setattr(StructKDTrainer, name, self._watched(number, getattr(StructKDTrainer, name)))

    def _watched(self, number: int, method: Callable[..., Any]) -> Callable[..., Any]:
        def run(*args: Any, **kwargs: Any) -> Any:
            self.enter(number)
            result = method(*args, **kwargs)
            self.leave()
            return result

        return run


class Job(NamedTuple):
    """One training: its task, the folder of its models, and its output folder."""

    task: type[Task]
    models: Path
    output: Path

    def train(self) -> None:
        """Train as the examples do, with the same arguments each time."""
        argv = [
            *("--student_model_name_or_path", str(self.models / "student")),
            *("--teacher_model_name_or_path", str(self.models / "teacher")),
            *("--output_dir", str(self.output), "--resume_from_checkpoint", "true"),
            *("--image_size", "64", "64", "--max_train_samples", "8", "--max_eval_samples", "2"),
            *("--max_steps", str(STEPS), "--per_device_train_batch_size", "2", "--holistic_weight", "0.1"),
            *("--save_strategy", "steps", "--save_steps", "1", "--save_total_limit", "2"),
            *("--eval_strategy", "steps", "--eval_steps", "2", "--logging_steps", "1"),
            *(
                "--use_cpu",
                "--disable_tqdm",
                "true",
                "--dataloader_pin_memory",
                "false",
                "--report_to",
                "none",
            ),
        ]
        arguments = parse_run(self.task, argv, scenes={})
        Experiment.load(arguments).train(arguments.training, with_teacher=True)


def start(job: Job, progress: Progress) -> int:
    """Fork a training and return its process id."""
    progress.clear()
    job.output.mkdir(parents=True, exist_ok=True)
    child = os.fork()
    if child:
        return child
    log = os.open(job.output.with_suffix(".log"), os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(log, 1)
    os.dup2(log, 2)
    try:
        progress.watch()
        job.train()
        os._exit(0)
    except BaseException:
        traceback.print_exc()
        os._exit(1)


def finish(job: Job, child: int) -> None:
    """Wait for a training; raise `RuntimeError` with the end of its output if it failed by itself."""
    if os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) != 0:
        output = job.output.with_suffix(".log").read_text(encoding="utf-8")
        raise RuntimeError(f"a training of {job.task.name} failed:\n{output[-2000:]}")


def run_and_kill(job: Job, progress: Progress, rng: random.Random) -> str | None:
    """Train until a random moment; return what the process was doing when it was killed, None if it ended.

    Raises:
        RuntimeError: If the training fails by itself.
    """
    moment, times, delay = rng.randrange(len(MOMENTS)), rng.randint(1, 3), rng.random() * 0.15
    child = start(job, progress)
    while os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
        if progress.count(moment) >= times:
            time.sleep(delay)
            doing = progress.now()
            os.kill(child, signal.SIGKILL)
            if os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL:
                return doing
            return None
        time.sleep(0.001)
    finish(job, child)
    return None


def result(folder: Path) -> dict[str, Any]:
    """Return all that two runs must share, by file."""
    last = folder / f"checkpoint-{STEPS}"
    found: dict[str, Any] = {"student": load_file(folder / "model.safetensors")}
    found |= {path.name: load_file(path) for path in last.glob("*.safetensors")}
    for path in [*last.glob("*.pt"), last / "rng_state.pth"]:
        found[path.name] = torch.load(path, weights_only=False)  # written by this script's own processes
    state = json.loads((last / "trainer_state.json").read_text())
    found["logs"] = [_without_times(entry) for entry in state["log_history"]]
    found["scores"] = _without_times(json.loads((folder / "eval_results.json").read_text()))
    return found


def _without_times(entry: dict[str, float]) -> dict[str, float]:
    return {name: value for name, value in entry.items() if not name.endswith(("_runtime", "_per_second"))}


def _bytes(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.contiguous().reshape(-1).view(torch.uint8)


def is_same(one: Any, other: Any) -> bool:
    """Compare two results in every bit."""
    if isinstance(one, torch.Tensor):
        return one.dtype == other.dtype and torch.equal(_bytes(one), _bytes(other))
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(is_same(one[key], other[key]) for key in one)
    if isinstance(one, (list, tuple)):
        return len(one) == len(other) and all(map(is_same, one, other))
    return repr(one) == repr(other)  # NaN is the same as NaN here


def kill_often(
    task: type[Task], kills: int, rng: random.Random, folder: Path, progress: Progress
) -> dict[str, Any]:
    """Kill trainings of one task so often; return the row of the table."""
    models = folder / task.name / "models"
    for seed, name in enumerate(("student", "teacher")):
        torch.manual_seed(seed)
        task.auto_model.from_config(_config(task)).save_pretrained(models / name)
    through = Job(task, models, folder / task.name / "through")
    finish(through, start(through, progress))
    expected, killed = result(through.output), Counter[str]()
    starts = passed = runs = 0
    differing: set[str] = set()
    while killed.total() < kills:
        runs += 1
        job, ended = Job(task, models, folder / task.name / f"run-{runs}"), False
        while not ended:
            starts += 1
            if killed.total() < kills:
                doing = run_and_kill(job, progress, rng)
                killed.update([doing] if doing else [])
                ended = doing is None
            else:
                finish(job, start(job, progress))
                ended = True
            passed += sum(what_is_missing(place) is not None for place in job.output.glob("checkpoint-*"))
        found = result(job.output)
        differing |= {
            name
            for name in expected.keys() | found.keys()
            if not is_same(expected.get(name), found.get(name))
        }
    return {
        "task": task.name,
        **{f"in {name}": killed[name] for name in MOMENTS},
        "between": killed["between"],
        "runs": runs,
        "starts": starts,
        "passed over": passed,
        "equal": f"no: {', '.join(sorted(differing))}" if differing else "yes",
    }


def main(argv: Sequence[str] | None = None) -> int:
    """Kill, resume, compare and print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument(
        "--kills", type=int, default=50, help="Kills in all, shared out over the three tasks."
    )
    parser.add_argument("--seed", type=int, default=0, help="Of the moments.")
    options = parser.parse_args(argv)
    torch.set_num_threads(1)  # threads do not survive a fork
    rng, progress, tasks = (
        random.Random(options.seed),
        Progress(),
        (SegmentationTask, DepthTask, DetectionTask),
    )
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for number, task in enumerate(tasks):
            kills = options.kills // len(tasks) + (number < options.kills % len(tasks))
            rows.append(kill_often(task, kills, rng, Path(folder), progress))
    widths = {name: max(len(name), *(len(str(row[name])) for row in rows)) for name in rows[0]}
    for row in [{name: name for name in widths}, *rows]:
        print("  ".join(str(row[name]).ljust(width) for name, width in widths.items()).rstrip())
    return 0 if all(row["equal"] == "yes" for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
