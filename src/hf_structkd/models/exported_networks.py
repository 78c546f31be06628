"""Networks that are files of operations, without modules: TorchScript, `torch.export` and ONNX."""

from __future__ import annotations

import importlib
import json
from ast import literal_eval
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map

_SUFFIXES = (".onnx", ".pt2", ".pt", ".pth", ".ts", ".torchscript")
_NAMES_KEYS = ("id2label", "names")  # in an ONNX file's metadata; the second is of YOLO tools


def is_exported(name: str | Path) -> bool:
    """Return whether a model is named by a file of operations."""
    return Path(name).suffix in _SUFFIXES and Path(name).is_file()


class Shape(NamedTuple):
    """The shape of images that was fixed when a network was exported; None where it was not.

    Attributes:
        batch: How many images it takes at once.
        height: Their height in pixels.
        width: Their width.
    """

    batch: int | None = None
    height: int | None = None
    width: int | None = None


class ExportedNetwork(nn.Module):
    """A network that was exported; it is run, and cannot be trained.

    Attributes:
        shape: What was fixed when it was exported.
        id2label: The classes that the file itself names; None if it names none.
    """

    shape: Shape = Shape()
    id2label: Mapping[int, str] | None = None

    def run(self, images: Tensor) -> Any:
        """Return the output for images of a shape that it takes."""
        raise NotImplementedError

    def forward(self, images: Tensor) -> Any:
        """Return the output for images (B, 3, H, W); a fixed batch is filled up, and run as often as needed.

        Raises:
            ValueError: If their height or width is another one than the exported one.
        """
        batch, *size = self.shape
        given = [images.shape[-2], images.shape[-1]]
        if any(fixed not in (None, own) for fixed, own in zip(size, given, strict=True)):
            raise ValueError(f"it was exported for images of {size[0]} × {size[1]}")
        if batch is None:
            return self.run(images)
        missing = -len(images) % batch
        filled = torch.cat([images, images[-1:].expand(missing, -1, -1, -1)])
        outputs = [self.run(part) for part in torch.split(filled, batch)]
        return tree_map(lambda *parts: torch.cat(parts)[: len(images)], *outputs)

    def train(self, mode: bool = True) -> ExportedNetwork:
        """Stay as it was exported; a program of `torch.export` refuses to be asked."""
        return self


class TorchNetwork(ExportedNetwork):
    """A TorchScript file or a program of `torch.export`.

    Args:
        program: The loaded program, a module.
        shape: What was fixed.
    """

    def __init__(self, program: nn.Module, shape: Shape) -> None:
        """Take the program."""
        super().__init__()
        self.program = program
        self.shape = shape

    def run(self, images: Tensor) -> Any:
        """Return the program's output."""
        try:
            return self.program(images)
        except AssertionError as error:  # a guard of `torch.export`
            raise ValueError(" ".join(str(error).split())) from error


class OnnxNetwork(ExportedNetwork):
    """An ONNX file, run by onnxruntime.

    Args:
        session: Its `InferenceSession`.
    """

    def __init__(self, session: Any) -> None:
        """Read the input's shape and the names of the classes."""
        super().__init__()
        self._session = session
        (self._input,) = session.get_inputs()
        self.shape = _fixed(self._input.shape)
        self.id2label = _names(session.get_modelmeta().custom_metadata_map)
        # A model of Transformers is asked for the device and the precision of a parameter.
        self.nothing = nn.Parameter(torch.zeros(0), requires_grad=False)

    def __deepcopy__(self, memo: Any) -> OnnxNetwork:
        """Return a network on the same session, which cannot be copied and has no state."""
        return OnnxNetwork(self._session)

    def run(self, images: Tensor) -> dict[str, Tensor]:
        """Return the outputs by their names.

        Raises:
            TypeError: If the images have another precision than the file.
        """
        kind = "float16" if self._input.type == "tensor(float16)" else "float32"
        if images.dtype not in (torch.float32, getattr(torch, kind)):
            raise TypeError(
                f"`teacher_dtype` must be left out for an ONNX file, which runs in {kind} as exported, got "
                f"{images.dtype}; leave it out."
            )
        given = {self._input.name: images.detach().cpu().numpy().astype(kind)}
        names = [output.name for output in self._session.get_outputs()]
        try:
            values = self._session.run(names, given)
        except Exception as error:  # of types that onnxruntime does not name in public
            raise RuntimeError(" ".join(str(error).split())) from error
        named = zip(names, values, strict=True)
        return {name: torch.from_numpy(value).to(images.device) for name, value in named}


def load_exported(path: Path, *, trust_remote_code: bool = False) -> ExportedNetwork:
    """Load a file of operations.

    Args:
        path: The file.
        trust_remote_code: Whether code in it may run: torch unpickles the weights of a program.

    Raises:
        ImportError: If it is an ONNX file and onnxruntime is not installed.
        ValueError: If it is none of these files, is a program that is not trusted, or takes anything but
            images (B, 3, H, W).
    """
    if path.suffix == ".onnx":
        return _load_onnx(path)
    if path.suffix == ".pt2" and not trust_remote_code:
        raise ValueError(
            f"`teacher_model` {path} is a file of `torch.export`, which may run code when torch reads it; "
            "pass --trust_remote_code, or in Python `load_exported_teacher(..., trust_remote_code=True)`, if "
            "you know who wrote it, or export to ONNX."
        )
    try:
        if path.suffix == ".pt2":
            program = torch.export.load(path)
            return TorchNetwork(program.module(), _exported_shape(program))
        return TorchNetwork(torch.jit.load(path, map_location="cpu"), Shape())
    except Exception as error:  # the readers raise many types
        raise ValueError(
            f"`teacher_model` {path} is no {'torch.export' if path.suffix == '.pt2' else 'TorchScript'} file "
            f"that can be read ({' '.join(str(error).split())[:200]}); write it with "
            f"`{'torch.export.save' if path.suffix == '.pt2' else 'torch.jit.save'}`, or name a folder that "
            "`save_pretrained` wrote."
        ) from error


def _load_onnx(path: Path) -> OnnxNetwork:
    try:
        runtime = importlib.import_module("onnxruntime")
    except ImportError as error:
        raise ImportError(
            f"`teacher_model` {path} is an ONNX file, which needs onnxruntime, and that is not installed; "
            'install it with `pip install "hf_structkd[onnx]"`.'
        ) from error
    try:
        session = runtime.InferenceSession(str(path), providers=runtime.get_available_providers())
    except Exception as error:  # of many types, none of which is public
        raise ValueError(
            f"`teacher_model` {path} is no ONNX file that onnxruntime can read "
            f"({' '.join(str(error).split())[:200]}); export it again."
        ) from error
    inputs = session.get_inputs()
    if not _takes_images(inputs):
        takes = ", ".join(f"{one.name} {one.type} {one.shape}" for one in inputs)
        raise ValueError(
            f"`teacher_model` {path} must take images (B, 3, H, W) of floating-point numbers and nothing "
            f"else, and it takes {takes}; export it with such an input."
        )
    return OnnxNetwork(session)


def _takes_images(inputs: Sequence[Any]) -> bool:
    if len(inputs) != 1 or inputs[0].type not in ("tensor(float)", "tensor(float16)"):
        return False
    shape = inputs[0].shape
    return len(shape) == 4 and (shape[1] == 3 or not isinstance(shape[1], int))


def _fixed(shape: Sequence[Any]) -> Shape:
    """Return the sides of (B, 3, H, W) that are numbers, and no symbols."""
    batch, _, height, width = shape
    return Shape(*(side if isinstance(side, int) else None for side in (batch, height, width)))


def _exported_shape(program: Any) -> Shape:
    """Return what is fixed of the program's only input."""
    names = program.graph_signature.user_inputs
    (image,) = [node for node in program.graph.nodes if node.op == "placeholder" and node.name in names]
    return _fixed(image.meta["val"].shape)


def _names(metadata: Mapping[str, str]) -> dict[int, str] | None:
    """Return the classes in a file's metadata, where exporters write them as JSON or as Python writes it."""
    for key in _NAMES_KEYS:
        if key in metadata:
            try:
                return _read_names(metadata[key])
            except (AttributeError, SyntaxError, ValueError) as error:
                raise ValueError(
                    f"`{key}` in the metadata of an ONNX file must map class ids to names, got "
                    f"{metadata[key][:80]!r}; write it as JSON."
                ) from error
    return None


def _read_names(text: str) -> dict[int, str]:
    try:
        names = json.loads(text)
    except ValueError:
        names = literal_eval(text)
    named = dict(enumerate(names)) if isinstance(names, list) else names
    return {int(label): str(name) for label, name in named.items()}
