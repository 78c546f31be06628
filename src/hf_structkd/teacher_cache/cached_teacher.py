"""A frozen teacher whose answers are read from a folder where they are known, and stored where not."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Protocol

import torch
import transformers
from torch import Tensor, nn

from ..data.views import TEACHER_IMAGE, sample_key
from ..features.forward import Batch, Forward, Question, Reading
from ..metrics import PADDING
from ..models.sharding import anywhere
from ..models.teacher import FrozenTeacher, OutputReader
from .parts import OUTPUT, FoundPart, of_part
from .store import AnswerStore
from .top_k import pack, unpack

CacheDtype = Literal["float16", "float32"]
_FEATURE, _NODES, _SUMS = "feature", "nodes", "sums"
_SHOWN = ("pixel_values", TEACHER_IMAGE, "pixel_mask", "prompt_depth")


class AnswerReader(OutputReader, Protocol):
    """What the cache must know of a task; `tasks.Task` has it."""

    def settings(self) -> dict[str, Any]:
        """Return how the two models are matched, as JSON values."""

    def stored_output(self, student: Forward, teacher: Forward) -> dict[str, Tensor]:
        """Return the tensors (B, ...) that the task reads of the teacher's output, by name."""

    def restored_output(self, tensors: Mapping[str, Tensor]) -> Any:
        """Return an output made of the tensors of `stored_output`."""

    def feature_pairs(self, student: Forward, teacher: Forward, batch: Batch) -> list[Any]:
        """Return the captured maps of both models, each pair on one grid."""


class CachedTeacher(FrozenTeacher):
    """A `FrozenTeacher` with a memory on disk.

    An answer is found by what the teacher is shown, bit by bit (see `data.views.sample_key`), inside a folder
    that belongs to one teacher, normalisation, image size, choice of features and precision. Anything else is
    another folder or another key: it is computed, never mistaken. Maps are stored at the coarser of the two
    models' grids, at which every term reads them, and in the order in memory that the teacher gave them.

    An answer that has just been computed goes through the same rounding as one that is read, so that the
    epoch in which an answer is stored is no different from later ones.

    Args:
        root: Folder of all caches; each kind of answer has a folder of its own inside.
        dtype: Precision of the stored answers. A value that float16 cannot hold is stored in float32.
        top_k: How many classes of each place are stored, see `top_k.pack`; None stores all.
        task: Takes outputs apart and makes them again.
        feature: The names of the modules whose outputs are the features; none finds what the task compares.
        **teacher: As for `FrozenTeacher`.

    Attributes:
        answer_bytes: The size of the last answer to one image; 0 before there is one.
    """

    fits_student = True
    _task: AnswerReader

    def __init__(
        self,
        *args: Any,
        root: str | Path,
        dtype: CacheDtype,
        feature: list[str],
        top_k: int | None = None,
        **teacher: Any,
    ) -> None:
        """Open no folder yet: what is stored depends on what the terms read."""
        super().__init__(*args, **teacher)
        self._root = Path(root)
        self._dtype: torch.dtype = getattr(torch, dtype)
        self._feature = feature
        self._top_k = top_k
        self._stores: dict[str, AnswerStore] = {}
        self._opened: dict[str, AnswerStore] = {}
        self._is_checked = False
        self.answer_bytes = 0

    def follow(self, task: OutputReader) -> None:
        """Read outputs by another match of the teacher, whose answers have stores of their own."""
        super().follow(task)
        self._opened.clear()

    def answer(
        self, batch: Batch, student: Forward | None, question: Question, *, keep: bool = True
    ) -> Forward:
        """Return the teacher's answer, from the folder if it holds every image of the batch."""
        assert student is not None  # see `fits_student`
        known = {part: self._found(part, batch, student, question) for part in sorted(question.reads)}
        if self._must_run(any(one.is_missing for one in known.values())):
            computed = self._computed(batch, student, question)
            for part, one in known.items():
                one.complete([of_part(part, tensors) for tensors in computed], keep=keep)
        images = range(len(batch["pixel_values"]))
        answers = [{n: t for one in known.values() for n, t in one.answer(image).items()} for image in images]
        return self._restored(answers, batch["pixel_values"].device)

    def _found(self, part: Reading, batch: Batch, student: Forward, question: Question) -> FoundPart:
        """Return what the folder holds of one part of the answers to a batch."""
        store, keys = self._store(part, question), self._keys(part, batch, student)
        return FoundPart(store, keys, [store.get(key) for key in keys])

    def statistics(
        self, batch: Batch, compute: Callable[[Any], Tensor], scoring: Mapping[str, Any]
    ) -> Tensor:
        """Return the statistics of each image; the folder keeps these, exactly, in place of outputs."""
        store = self._open({"stored": "statistics", **scoring})
        shown = [_of_image(batch, image) for image in range(len(batch["pixel_values"]))]
        keys = [_text(sample_key(tensors)) for tensors in shown]
        found = [store.get(key) for key in keys]
        known = [tensors["statistics"] for tensors in found if tensors is not None]
        if self._must_run(len(known) < len(keys)):
            known = list(super().statistics(batch, compute, scoring).cpu())
            for key, tensor in zip(keys, known, strict=True):
                store.put(key, {"statistics": tensor.clone()})
        padded = nn.utils.rnn.pad_sequence(known, batch_first=True, padding_value=PADDING)
        return padded.to(batch["pixel_values"].device)

    def check(self, batch: Batch) -> None:
        """Wait until an answer is missing, as `prepare_features` does."""

    def prepare_features(self, pixel_values: Tensor, modules: Sequence[str]) -> None:
        """Wait until an answer is missing: what is stored needs no weights."""

    def flush(self) -> None:
        """Write the answers that are not yet on disk."""
        for store in self._stores.values():
            store.flush()

    def describe(self, question: Question, count: int | None) -> dict[str, str]:
        """Say where the answers are, how many there are, and how much space all of them take."""
        stores = [self._store(part, question) for part in question.reads]
        if not stores:
            return {}
        store = min(stores, key=len)
        text = f"{len(store)}{'' if count is None else f' of {count}'} answers in {self._root}"
        size = self.answer_bytes
        text += f", {size / 2**20:.2f} MiB each"
        if count is not None:
            free = store.free_bytes
            text += f", {size * count / 2**30:.2f} GiB in all; {free / 2**30:.1f} GiB are free"
        return {"teacher cache": text}

    def _must_run(self, is_missing: bool) -> bool:
        """Return whether the teacher runs: a sharded one on all processes, if one of them lacks an answer."""
        return anywhere(is_missing, self.device) if self.is_sharded else is_missing

    def _store(self, part: Reading, question: Question) -> AnswerStore:
        """Return the store of a part of the answers, which runs with other terms may share."""
        facts: dict[str, Any] = {"stored": part, "precision": str(self._dtype)}
        if part == "features":
            facts |= {"feature": self._feature, "pooling": question.pooling}
            facts["sums"] = question.sum_up is not None
        elif self._top_k is not None:
            facts["top_k"] = self._top_k
        return self._open(facts)

    def _open(self, facts: Mapping[str, Any]) -> AnswerStore:
        """Return the store of one kind of answer, with all that an answer depends on in its name."""
        asked = json.dumps(facts, sort_keys=True)
        if asked not in self._opened:  # every batch asks
            self._opened[asked] = self._store_of(facts)
        return self._opened[asked]

    def _store_of(self, facts: Mapping[str, Any]) -> AnswerStore:
        facts = {
            **facts,
            "teacher": self.source.name,
            "teacher_dtype": self._precision,
            "fingerprint": self.source.fingerprint,
            "student_normalization": repr(self._student_normalization),
            "teacher_normalization": repr(self._teacher_normalization),
            "image_size": self.image_size,
            "task": self._task.name,
            "match": self._task.settings(),
            "transformers": transformers.__version__,
        }
        text = json.dumps(facts, indent=2, sort_keys=True)
        name = hashlib.blake2b(text.encode(), digest_size=8).hexdigest()
        if name not in self._stores:
            self._stores[name] = AnswerStore(self._root / name, facts=text + "\n")
        return self._stores[name]

    def _computed(self, batch: Batch, student: Forward, question: Question) -> list[dict[str, Tensor]]:
        """Run the teacher, and return what is stored of each image."""
        if not self._is_checked:
            super().check(batch)
            self._is_checked = True
        if "features" in question.reads:
            super().prepare_features(batch["pixel_values"], self._feature)
        forward = self(batch)
        stored: dict[str, Tensor] = {}
        exact: dict[str, Tensor] = {}
        if "output" in question.reads:
            tensors = self._task.stored_output(student, forward)
            for name, tensor in tensors.items():
                stored |= pack(f"{OUTPUT}.{name}", tensor.float(), self._top_k or tensor.shape[1])
        if "features" in question.reads:
            for level, pair in enumerate(self._task.feature_pairs(student, forward, batch)):
                if question.pool is None:
                    stored[f"{_FEATURE}.{level:03}"] = pair.teacher
                else:
                    grid = "x".join(map(str, pair.teacher.shape[-2:]))
                    nodes = stored[f"{_NODES}.{level:03}.{grid}"] = self._rounded(question.pool(pair))
                    assert question.sum_up is not None
                    exact[f"{_SUMS}.{level:03}"] = question.sum_up(nodes)
        laid_out = dict(_with_layout(name, self._rounded(tensor)) for name, tensor in stored.items()) | exact
        return [
            {name: tensor[image] for name, tensor in laid_out.items()}
            for image in range(len(batch["pixel_values"]))
        ]

    def _rounded(self, tensor: Tensor) -> Tensor:
        tensor = tensor.detach().cpu()
        if not tensor.is_floating_point():
            return tensor
        tensor = tensor.float()
        rounded = tensor.to(self._dtype)
        return rounded if bool(torch.equal(rounded.isfinite(), tensor.isfinite())) else tensor

    def _restored(self, answers: list[dict[str, Tensor]], device: torch.device) -> Forward:
        exact = sorted(name for name in answers[0] if name.startswith(_SUMS))
        stacked = dict(
            _without_layout(name, torch.stack([answer[name] for answer in answers]).to(device).float())
            for name in answers[0]
            if name not in exact
        )
        self.answer_bytes = sum(tensor.nbytes for tensor in answers[0].values())
        output = unpack(
            {
                name.removeprefix(f"{OUTPUT}."): tensor
                for name, tensor in stacked.items()
                if name.startswith(OUTPUT)
            }
        )
        features = [stacked[name] for name in sorted(stacked) if name.startswith(_FEATURE)]
        pooled = sorted(name for name in stacked if name.startswith(_NODES))
        for name in pooled:  # maps of the right size that take no memory
            height, width = map(int, name.rpartition(".")[2].split("x"))
            features.append(stacked[name].new_zeros(()).expand(len(answers), 1, height, width))
        restored = self._task.restored_output(output) if output else None
        sums = tuple(torch.stack([answer[name] for answer in answers]) for name in exact)
        return Forward(restored, tuple(features), tuple(stacked[name] for name in pooled), sums)

    def _keys(self, part: Reading, batch: Batch, student: Forward) -> list[str]:
        """Return the key of each image, with the sizes of the student's maps, to which the part is fitted."""
        maps = student.features if part == "features" else (self._task.prediction(student.output),)
        grids = "".join(f"-{'x'.join(map(str, one.shape[2:]))}" for one in maps)
        keys = batch.get("sample_key")
        if keys is None:  # rows of another loader
            shown = [batch[name].cpu() for name in _SHOWN if name in batch]
            keys = torch.stack([sample_key([tensor[i] for tensor in shown]) for i in range(len(shown[0]))])
        return [f"{_text(key)}{grids}" for key in keys]


def _text(key: Tensor) -> str:
    return "".join(f"{half & (2**64 - 1):016x}" for half in key.tolist())


def _of_image(batch: Batch, image: int) -> list[Tensor]:
    """Return what an image's score depends on: what the teacher is shown, and the labels."""
    labels = batch["labels"][image]
    tensors = [labels[name] for name in sorted(labels)] if isinstance(labels, Mapping) else [labels]
    return [*(batch[name][image].cpu() for name in _SHOWN if name in batch), *(one.cpu() for one in tensors)]


def _with_layout(name: str, tensor: Tensor) -> tuple[str, Tensor]:
    """Return a tensor (B, ...) with its axes in their order in memory, and this order in its name.

    Sums over a tensor depend in their last bits on its order in memory.
    """
    axes = sorted(range(1, tensor.dim()), key=lambda axis: -tensor.stride()[axis])
    return f"{name}@{''.join(map(str, axes))}", tensor.permute(0, *axes)


def _without_layout(name: str, tensor: Tensor) -> tuple[str, Tensor]:
    """Undo `_with_layout`."""
    name, _, axes = name.partition("@")
    order = [0, *map(int, axes)]
    return name, tensor.permute(*(order.index(axis) for axis in range(tensor.dim())))
