"""Where a teacher comes from: what is known of it before its weights are loaded."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import snapshot_download
from transformers import AutoConfig, AutoTokenizer, PretrainedConfig, PreTrainedModel

from ..hub.access import explained
from .exported import load_exported_teacher
from .exported_networks import is_exported
from .loading import WEIGHT_PATTERNS, config_of, load_teacher
from .named import place_of
from .parameters import count_parameters
from .plain_module import ModuleConfig
from .prompted.base import PromptedTeacher
from .prompted.prompts import read_prompts
from .reading import readable
from .sharding import whole
from .teacher_forms import Taught, class_name, teacher_form

_CHUNK = 1 << 22


class TeacherSource:
    """A teacher whose weights are loaded when they are first needed.

    Args:
        model: Hub id, folder, file of operations (see `load_exported_teacher`) or loaded model.
        kind: The task that it must solve.
        revision: Branch, tag or commit on the Hub.
        trust_remote_code: Whether code that lies beside the weights is run.

    Attributes:
        name: The Hub id or folder; for a loaded model, what it was loaded from, or "".
        revision: As given.

    Raises:
        ValueError: If it solves another task, or the Hub has no such model or revision.
        ConnectionError: If the Hub cannot be reached, or fails.
    """

    def __init__(
        self,
        model: PreTrainedModel | str | Path,
        kind: Taught,
        *,
        revision: str | None = None,
        trust_remote_code: bool = False,
    ) -> None:
        """Read the configuration."""
        self._kind = kind
        self.revision = revision
        self._trust = {"trust_remote_code": trust_remote_code}
        self._model: PreTrainedModel | None = None
        if isinstance(model, PreTrainedModel):
            self._model = load_teacher(model, kind)
            self.name = str(model.name_or_path)
            self.config = config_of(self._model)
            self._form = teacher_form([type(model).__name__], kind, self.name)
            return
        self.name = str(place_of(model))
        if is_exported(model):
            self._model = load_exported_teacher(model, kind.short_name, **self._trust)
            self.config = config_of(self._model)
            self._form = teacher_form([class_name(self._model)], kind, self.name)
            return
        with readable("`teacher_model`", self.name, revision=revision):
            self.config = AutoConfig.from_pretrained(self.name, revision=revision, **self._trust)
        self._form = teacher_form(self.config.architectures or [], kind, self.name)
        if self._form.reads_text:
            self.config.id2label = {}

    config: PretrainedConfig

    def asked_for(
        self, student: PretrainedConfig, options: Mapping[str, Any], processor: Any = None
    ) -> TeacherSource:
        """Return this teacher as it teaches a student: one that reads text looks for its classes.

        The model inside is the same, so that several students can have it.

        Args:
            student: The student's configuration.
            options: Keyword arguments of the task, of which `teacher_prompts` is read.
            processor: The teacher's processor with its tokenizer; None, or an image processor, loads the
                tokenizer beside the teacher.

        Raises:
            ValueError: If the teacher reads no text and prompts are given, there is no tokenizer, or the
                phrases do not fit, see `prompted.prompts.prompts_for`.
        """
        given = options.get("teacher_prompts")
        if self._form.reads_text:
            prompts = None if given is None else read_prompts(given)
            tokenizer = getattr(processor, "tokenizer", None) or self._load_tokenizer()
            return _AskedSource(self, student, prompts, tokenizer)
        if given is not None:
            raise ValueError(
                f"`teacher_prompts` must be left out for {class_name(self.outline)}, which reads no text and "
                "has the classes of its configuration."
            )
        return self

    def _load_tokenizer(self) -> Any:
        if not self.name:
            raise ValueError(
                "`teacher_processing_class` must be the teacher's processor, whose tokenizer reads the "
                "prompts, where `teacher_model` was built in this process; pass it."
            )
        with readable("the tokenizer of", self.name, revision=self.revision):
            return AutoTokenizer.from_pretrained(self.name, revision=self.revision)

    @property
    def folder(self) -> str:
        """Where what belongs to the model lies, such as an image processor: `name`, or a file's folder."""
        return str(Path(self.name).parent) if is_exported(self.name) else self.name

    @property
    def is_loaded(self) -> bool:
        """Whether the weights are in memory."""
        return self._model is not None

    @property
    def model(self) -> PreTrainedModel:
        """The model, loaded at the first call; see `load_teacher` for what it raises."""
        if self._model is None:
            self._model = load_teacher(self.name, self._kind, revision=self.revision, **self._trust)
        return self._model

    @cached_property
    def outline(self) -> PreTrainedModel:
        """The model, or as long as it is not loaded one of its class and shapes without memory or values."""
        if self._model is not None:
            return self._model
        with torch.device("meta"):
            return self._form.wrap(self._form.auto_model.from_config(self.config, **self._trust))

    @property
    def description(self) -> str:
        """Class and size, which tell this teacher from another in any folder; of a file its digest."""
        if isinstance(self.config, ModuleConfig) and self.config.file:
            return self.config.file
        return f"{class_name(self.outline)} of {count_parameters(self.outline):,} parameters"

    @cached_property
    def fingerprint(self) -> str:
        """A hash of the configuration and of every weight: of the files, or of a loaded model's tensors."""
        return _hash_of_model(self._model) if self._model is not None else self._hash_of_files()

    def _hash_of_files(self) -> str:
        folder = Path(self.name)
        if not folder.is_dir():
            with explained("`teacher_model`", self.name, revision=self.revision):
                folder = Path(
                    snapshot_download(
                        self.name, revision=self.revision, allow_patterns=["config.json", *WEIGHT_PATTERNS]
                    )
                )
        digest = hashlib.blake2b(digest_size=16)
        for path in sorted(p for pattern in ("config.json", *WEIGHT_PATTERNS) for p in folder.glob(pattern)):
            digest.update(path.name.encode())
            with path.open("rb") as file:
                while chunk := file.read(_CHUNK):
                    digest.update(chunk)
        return digest.hexdigest()


class _AskedSource(TeacherSource):
    """A teacher that reads text, asked for the classes of a student."""

    def __init__(
        self,
        source: TeacherSource,
        student: PretrainedConfig,
        given: Mapping[str, Sequence[str]] | None,
        tokenizer: Any,
    ) -> None:
        """Ask, but load nothing."""
        self._source, self._asks = source, (student, given, tokenizer)
        self._kind, self._form = source._kind, source._form
        self.name, self.revision = source.name, source.revision
        self._model = None
        self.config = config_of(self.outline)

    @property
    def is_loaded(self) -> bool:
        return self._source.is_loaded

    @property
    def model(self) -> PreTrainedModel:
        if self._model is None:
            self._model = self._asked(self._source.model)
        return self._model

    @cached_property
    def outline(self) -> PromptedTeacher:
        return self._asked(self._source.outline)

    def _asked(self, model: PreTrainedModel) -> PromptedTeacher:
        assert isinstance(model, PromptedTeacher)
        return model.asked_for(*self._asks)

    @property
    def description(self) -> str:
        prompts = self.outline.prompts
        assert prompts is not None
        asked = f"asked for {len(prompts.names)} classes by {len(prompts.phrases)} phrases"
        return f"{super().description}, {asked}"

    @cached_property
    def fingerprint(self) -> str:
        """A hash of the teacher, and of what it is asked for."""
        asked = f"{self._source.fingerprint} {self.outline.prompts}"
        return hashlib.blake2b(asked.encode(), digest_size=16).hexdigest()


def _hash_of_model(model: PreTrainedModel) -> str:
    digest = hashlib.blake2b(config_of(model).to_json_string(use_diff=False).encode(), digest_size=16)
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        try:
            digest.update(whole(tensor.detach()).cpu().contiguous().view(-1).view(torch.uint8).numpy().data)
        except NotImplementedError as error:
            raise ValueError(
                f"`teacher_cache` must know the teacher by its weights, got {name} of the type "
                f"{type(tensor).__name__}, whose bytes cannot be read; pass the teacher as it was before, "
                'with `teacher_dtype="int8"`.'
            ) from error
    return digest.hexdigest()
