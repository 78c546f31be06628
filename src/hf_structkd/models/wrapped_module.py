"""Networks that are wrapped as models in this process, and the code that is saved with them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import transformers
from torch import nn
from transformers import PretrainedConfig, PreTrainedModel
from transformers.utils import is_torchvision_available

from . import plain_module
from .own_code import Code, code_of
from .plain_module import (
    ModuleConfig,
    ModuleForDepthEstimation,
    ModuleForObjectDetection,
    ModuleForSemanticSegmentation,
    PlainModule,
)

Reader = Callable[[Any], Any] | str | int | None

_BASE_FILE, _MODEL_FILE = "structkd_module.py", "modeling_wrapped.py"


class Kind(NamedTuple):
    """What the models of a task are.

    Attributes:
        base: Their class.
        auto_model: The auto class of Transformers that loads them.
        processor: The class of their image processor, whose post-processing fits them.
        answers: Names of the tensors that answer the task.
        has_classes: Whether the answer is about classes.
    """

    base: type[PlainModule]
    auto_model: str
    processor: str
    answers: tuple[str, ...]
    has_classes: bool = True


KINDS = {
    "segmentation": Kind(
        ModuleForSemanticSegmentation,
        "AutoModelForSemanticSegmentation",
        "SegformerImageProcessor",
        ("logits",),
    ),
    "depth": Kind(
        ModuleForDepthEstimation,
        "AutoModelForDepthEstimation",
        "DPTImageProcessor",
        ("predicted_depth",),
        has_classes=False,
    ),
    "detection": Kind(
        ModuleForObjectDetection,
        "AutoModelForObjectDetection",
        "DeformableDetrImageProcessor",
        ("logits", "pred_boxes"),
    ),
}

_PROGRAM = '''"""The model: a network with a code of its own, as a model of Transformers."""

from .structkd_module import ModuleConfig, {base} as Base
{imports}


class {base}(Base):
    """The network that `build` makes, whose output `read` reads."""

    config_class = ModuleConfig
    build = staticmethod({build})
    read = {read}
'''


def model_around(
    network: nn.Module,
    config: ModuleConfig,
    task: str,
    *,
    read: Reader,
    build: Callable[..., nn.Module] | None = None,
) -> PreTrainedModel:
    """Return a model around a network, of a class of its own; without `build` it cannot be saved."""
    cls = _class_of(KINDS[task], build, read)
    config.architectures = [cls.__name__]
    # Answers that are stored must not be taken for those of another reader or of code that was changed.
    config.code = "" if config.file else cls.digest(network)
    if not cls.obstacle:
        module = Path(_MODEL_FILE).stem
        names = {"AutoConfig": "ModuleConfig", KINDS[task].auto_model: cls.__name__}
        config.auto_map = {auto: f"{module}.{name}" for auto, name in names.items()}
    return cls(config, network)


def image_processor_of(config: PretrainedConfig) -> Any | None:
    """Make the image processor of a wrapped network; return None for any other model."""
    if not isinstance(config, ModuleConfig) or config.image_mean is None:
        return None
    name = config.processor_class + ("" if is_torchvision_available() else "Pil")
    size = {"height": config.image_size[0], "width": config.image_size[1]}
    colours = {"image_mean": config.image_mean, "image_std": config.image_std}
    return getattr(transformers, name)(size=size, do_rescale=True, do_normalize=True, **colours)


def refuse_unsavable(student: nn.Module) -> None:
    """Raise `ValueError` if a wrapped network cannot be saved, before it is trained for hours."""
    if isinstance(student, WrappedModule):
        student.check_saving()


class WrappedModule(PlainModule):
    """What a network that was wrapped in this process can do beyond one that was loaded: ship its code.

    Attributes:
        codes: Where the builder and, if it is a function, the reader come from.
        obstacle: Why it cannot be saved, a part of a sentence; empty if it can.
        program: The file that puts them together.
    """

    codes: ClassVar[tuple[Code, ...]] = ()
    obstacle: ClassVar[str] = ""
    program: ClassVar[str] = ""

    @classmethod
    def digest(cls, network: nn.Module) -> str:
        """Return a digest of the code; where it has no files, names that hold in this process alone."""
        if cls.obstacle:
            return f"{type(network).__qualname__} read by {cls.read!r}"
        texts = [file.read_bytes() for code in cls.codes for file in code.files]
        return hashlib.blake2b(b"".join([cls.program.encode(), *texts]), digest_size=16).hexdigest()

    def check_saving(self) -> None:
        """Raise `ValueError` with the reason if it cannot be saved."""
        if self.obstacle:
            raise ValueError(
                "`model` is a wrapped network that cannot be saved, and so cannot be a student: "
                f"{self.obstacle}; see `wrap_model`."
            )

    def save_pretrained(self, save_directory: Any, *args: Any, **kwargs: Any) -> None:
        """Save weights and configuration, and beside them the code and the image processor."""
        self.check_saving()
        if kwargs.get("push_to_hub"):
            raise ValueError("`push_to_hub` must be False here, got True; call `model.push_to_hub(...)`.")
        super().save_pretrained(save_directory, *args, **kwargs)
        folder = Path(save_directory)
        sources = {_BASE_FILE: Path(plain_module.__file__)}
        sources |= {file.name: file for code in self.codes for file in code.files}
        for name, file in sources.items():
            (folder / name).write_text(file.read_text(encoding="utf-8"), encoding="utf-8")
        (folder / _MODEL_FILE).write_text(self.program, encoding="utf-8")
        processor = image_processor_of(self.config)
        if processor is not None:
            processor.save_pretrained(folder)


def _class_of(kind: Kind, build: Callable[..., nn.Module] | None, read: Reader) -> type[WrappedModule]:
    """Return a class of its own for one builder and reader, which can be saved if both can be imported."""
    name = kind.base.__name__
    members: dict[str, Any] = {
        "__module__": __name__,
        "build": staticmethod(build or _missing),
        "read": staticmethod(read) if callable(read) else read,
    }
    try:
        members |= _shipped(name, build, read)
    except ValueError as error:
        members["obstacle"] = str(error)
    return type(name, (WrappedModule, kind.base), members)


def _shipped(name: str, build: Callable[..., nn.Module] | None, read: Reader) -> dict[str, Any]:
    """Return what `save_pretrained` writes; raise `ValueError` with the reason if that would not load."""
    if build is None:
        raise ValueError("it came without the `arguments` that build it; pass its class and these")
    builder, reader = code_of(build), code_of(read) if callable(read) else None
    codes = [code for code in (builder, reader) if code is not None]
    _refuse_two_of_a_name(codes)
    program = _PROGRAM.format(
        base=name,
        imports="\n".join(dict.fromkeys(code.statement for code in codes)),
        build=builder.expression,
        read=repr(read) if reader is None else f"staticmethod({reader.expression})",
    )
    return {"codes": tuple(codes), "program": program}


def _refuse_two_of_a_name(codes: Sequence[Code]) -> None:
    files = {file.resolve() for code in codes for file in code.files}
    names = [file.name for file in files] + [_BASE_FILE, _MODEL_FILE]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"two of its files would be called {twice[0]}; rename one")


def _missing() -> nn.Module:
    raise ValueError("`arguments` are missing, without which the wrapped network cannot be built again.")
