"""What a GPU would show: speed, memory and precision of large pairs. `gpu_check.sh` runs it with the tests.

    python scripts/gpu_check.py                    # on a GPU, about five minutes, nothing compiled
    python scripts/gpu_check.py --mode compiled    # the compiled runs alone
    python scripts/gpu_check.py --device cpu --dry # tiny pairs, three steps: the same path, no measurement

The floor is transformers' own trainer with the same student, which also runs the teacher, in float32 in every
mode; where ours compiles the teacher, so does the floor. Each half of a row is printed as soon as it is
measured, with the seconds of its first step, in which code is compiled. Several processes with the same
`--lock` compile side by side, and time their steps one after the other. Utilisation is the rate of the
floating-point operations that torch counts in a step of the floor (those of the two models), over the rate
that large matrix products reach on the same device in the student's precision. Terms and critic are left out:
torch's counter follows no `autograd.grad` to a weight.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import gc
import math
import statistics
import tempfile
import time
from collections.abc import Callable
from typing import IO, Any, NamedTuple

import torch
from benchmark_steps import Floor, Pair, Rows
from large_pairs import LARGE, TINY
from torch.utils.flop_counter import FlopCounterMode
from transformers import Trainer, TrainerCallback, TrainingArguments
from transformers.utils import logging

from hf_structkd import StructKDTrainer, StructKDTrainingArguments

# Each part ends with what takes longest: what is cut off by a limit of time is then that.
MODES: dict[str, dict[str, dict[str, Any]]] = {
    "eager": {"float32": {}, "bfloat16": {"bf16": True}},
    "compiled": {"bfloat16, compiled": {"bf16": True, "torch_compile": True}},
}
KINDS = ("float32", "bfloat16")
WARM_UP = 5


class Seconds(TrainerCallback):
    """Keeps the time of each step, and may count the operations of the last one.

    Args:
        device: Waits for its work before the clock is read.
        steps: How many steps there are.
        counts: Whether it counts the operations.
        lock: It is kept from other processes while steps are timed.
    """

    def __init__(self, device: str, steps: int, *, counts: bool, lock: IO[bytes] | None) -> None:
        """Start without a time."""
        self._lock = lock
        self.seconds: list[float] = []
        self.operations = 0
        self._device, self._steps, self._start = device, steps, 0.0
        self._counts = counts
        self._counter = FlopCounterMode(display=False)

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Start the clock."""
        if self._counts and state.global_step == self._steps - 1:
            self._counter.__enter__()
        if self._lock is not None and state.global_step == min(WARM_UP, self._steps - 1):
            fcntl.flock(self._lock, fcntl.LOCK_EX)
        wait_for(self._device)
        self._start = time.perf_counter()

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Stop the clock; the step whose operations are counted is slower and does not count."""
        wait_for(self._device)
        if state.global_step < self._steps:
            self.seconds.append(time.perf_counter() - self._start)
        elif self._counts:
            self._counter.__exit__(None, None, None)
            self.operations = self._counter.get_total_flops()


class Measured(NamedTuple):
    """A variant: images in a second, the first step's seconds, the most bytes, and operations of a step."""

    rate: float
    first: float
    memory: int
    operations: int


def wait_for(device: str) -> None:
    """Wait until the device has done its work."""
    if device == "cuda":
        torch.cuda.synchronize()


def settings_of(folder: str, batch: int, steps: int, device: str) -> dict[str, Any]:
    """Return what all trainers have in common."""
    return {
        "output_dir": folder,
        "max_steps": steps,
        "per_device_train_batch_size": batch,
        "use_cpu": device == "cpu",
        "save_strategy": "no",
        "logging_strategy": "no",
        "report_to": "none",
        "disable_tqdm": True,
        "remove_unused_columns": False,
        "dataloader_pin_memory": device == "cuda",
    }


def distiller(pair: Pair, folder: str, **settings: Any) -> StructKDTrainer:
    """Return the trainer of a pair, with new models."""
    args = StructKDTrainingArguments(**{**pair.settings, **settings, "output_dir": folder})
    rows = Rows(pair, 2 * args.per_device_train_batch_size)
    return StructKDTrainer(pair.student(), pair.teacher(), args, train_dataset=rows)


def floor_of(ours: StructKDTrainer, pair: Pair, settings: dict[str, Any]) -> Trainer:
    """Return transformers' trainer, with the same task and another copy of the teacher."""
    plain = Floor(
        pair.student(),
        TrainingArguments(**settings),
        train_dataset=ours.train_dataset,
        data_collator=ours.task.collate,
    )
    plain.task, plain.teacher = ours.task, pair.teacher().requires_grad_(False).eval().to(plain.args.device)
    if ours.args.compiling is not None:  # as ours is: else the floor is slower for another reason
        plain.teacher = torch.compile(plain.teacher, **ours.args.compiling)
    return plain


def measure(
    trainer: Trainer, device: str, steps: int, batch: int, *, title: str, lock: IO[bytes] | None
) -> Measured:
    """Train, print and return the medians of what was seen."""
    counts = isinstance(trainer, Floor) and not trainer.args.torch_compile
    callback = Seconds(device, steps, counts=counts, lock=lock)
    trainer.add_callback(callback)
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
    try:
        trainer.train()
    finally:
        if lock is not None:
            fcntl.flock(lock, fcntl.LOCK_UN)
    memory = torch.cuda.max_memory_allocated() if device == "cuda" else 0
    counted = callback.seconds[min(WARM_UP, len(callback.seconds) - 1) :]
    rate, first = batch / statistics.median(counted), callback.seconds[0]
    print(f"{title} {rate:8.1f} images/s, first step {first:6.1f} s", flush=True)
    return Measured(rate, first, memory, callback.operations)


def matrix_rate(device: str, dtype: torch.dtype, side: int) -> float:
    """Return the operations in a second of products of square matrices."""
    left, right = (torch.randn(side, side, device=device, dtype=dtype) for _ in range(2))
    seconds = []
    for _ in range(8):
        wait_for(device)
        start = time.perf_counter()
        left @ right
        wait_for(device)
        seconds.append(time.perf_counter() - start)
    return 2 * side**3 / statistics.median(seconds)


def compare(
    pair: Pair,
    mode: str,
    own: dict[str, Any],
    *,
    device: str,
    steps: int,
    batch: int,
    fastest: float,
    lock: IO[bytes] | None,
) -> str:
    """Return the row of a pair in one mode, with its own settings: the full step against the floor.

    The two run one after the other: they would not fit together, and nobody else uses the device.
    """
    extra = {**settings_of("", batch, steps, device), **own}
    title = f"{pair.title:<36} {mode:<20}"
    if device == "cpu" and "torch_compile" in extra:
        extra["torch_compile_backend"] = "eager"
    with tempfile.TemporaryDirectory() as folder:
        ours = distiller(pair, folder, **extra)
        plain = floor_of(ours, pair, {**extra, "output_dir": folder})
        floor = measure(plain, device, steps, batch, title=f"{title} floor     ", lock=lock)
        del plain
        gc.collect()
        full = measure(ours, device, steps, batch, title=f"{title} distilling", lock=lock)
    ratio = floor.rate / full.rate
    goal = "pass" if ratio <= pair.goal else "short"
    is_counted = floor.operations > 0 and not math.isnan(fastest)
    used = f"{floor.operations * full.rate / batch / fastest:4.0%}" if is_counted else "not counted"
    peaks = f"{floor.memory / 2**30:6.2f} {full.memory / 2**30:6.2f}"
    return (
        f"{title} {floor.rate:8.1f} {full.rate:8.1f} images/s  ratio {ratio:5.2f} {goal:<5} "
        f"first steps {floor.first:6.1f} {full.first:6.1f} s  peak {peaks} GiB  utilisation {used}"
    )


def overflow(pair: Pair, *, device: str, steps: int, batch: int) -> str:
    """Train in float16 from a scale that overflows; on a CPU the scaler's steps are the same, in float32."""
    extra = {**settings_of("", batch, steps, device), "fp16": device == "cuda"}
    with tempfile.TemporaryDirectory() as folder:
        trainer = distiller(pair, folder, **extra)
        # The first scale overflows in any precision; the second is the one that scalers begin with.
        scaler = torch.amp.GradScaler(device, init_scale=2.0**127, backoff_factor=2.0**-111)
        trainer.accelerator.scaler = scaler
        before = [one.clone() for one in trainer.model.parameters()]
        trainer.train()
    if scaler.get_scale() == 2.0**127:
        raise RuntimeError("no step overflowed, although the scale was 2^127.")
    if all(torch.equal(*two) for two in zip(before, trainer.model.parameters(), strict=True)):
        raise RuntimeError("no step followed those that overflowed.")
    networks = [trainer.model, *trainer.distillation.networks]
    if not all(bool(one.isfinite().all()) for net in networks for one in net.parameters()):
        raise RuntimeError("weights are not finite after a step that overflowed.")
    return f"{pair.title:<36} scale fell to {scaler.get_scale():.3g}, all weights are finite"


def attempt(title: str, check: Callable[..., str], *args: Any, **kwargs: Any) -> int:
    """Print what a check returns, or that it failed; return the number of failures."""
    try:
        print(check(*args, **kwargs), flush=True)
    except Exception as error:  # out of memory, or what a compiler cannot do
        print(f"{title} failed: {type(error).__name__}: {error}", flush=True)
        return 1
    finally:
        gc.collect()
    return 0


def main() -> None:
    """Measure every pair in every mode; what fails is printed, and the rest goes on."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cuda")
    parser.add_argument(
        "--dry", action="store_true", help="Tiny pairs and three steps, which measure nothing."
    )
    parser.add_argument("--mode", choices=list(MODES), default="eager")
    parser.add_argument("--pairs", nargs="+", choices=list(LARGE), default=list(LARGE))
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--lock", help="A file for processes that run at a time, see above.")
    args = parser.parse_args()
    logging.set_verbosity_error()
    steps, batch, pairs = (3, 2, TINY) if args.dry else (args.steps, args.batch, LARGE)
    pairs = {name: pairs[name] for name in args.pairs if name in pairs}
    common = {"device": args.device, "steps": steps, "batch": batch}
    name = torch.cuda.get_device_name() if args.device == "cuda" else "CPU"
    print(f"torch {torch.__version__}, {name}{', dry: the numbers mean nothing' if args.dry else ''}")
    failures, rates = 0, {}
    if args.mode == "eager":
        rates = {
            one: matrix_rate(args.device, getattr(torch, one), 256 if args.dry else 8192) for one in KINDS
        }
        print(", ".join(f"{one} products {rate / 1e12:.2f} TFLOP/s" for one, rate in rates.items()))
    with contextlib.nullcontext() if args.lock is None else open(args.lock, "ab") as lock:
        for mode, own in MODES[args.mode].items():
            for pair in pairs.values():
                fastest = rates.get(mode, math.nan)
                failures += attempt(
                    f"{pair.title:<36} {mode:<20}",
                    compare, pair, mode, own, fastest=fastest, lock=lock, **common,
                )  # fmt: skip
            if mode == "float32" and pairs:
                failures += attempt("float16", overflow, next(iter(pairs.values())), **common)
    if failures:
        raise SystemExit(f"{failures} of the measurements failed.")


if __name__ == "__main__":
    main()
