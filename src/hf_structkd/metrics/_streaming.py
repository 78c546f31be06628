"""The base of the streaming metrics: an `evaluate.Metric` that keeps sums instead of outputs."""

from __future__ import annotations

import inspect
from abc import abstractmethod
from typing import Any, ClassVar

import datasets
import evaluate
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

AGREEMENT = "agreement_"
"""What the name of a score begins with whose truth is the teacher's answer, and no label."""

PADDING = -100
"""The value that fills up the statistics of images that differ in length; Trainer pads with it too."""


class StreamingImageMetric(evaluate.Metric):
    """An `evaluate.Metric` that keeps little memory and writes no file.

    Trainer gives `add_statistics` the statistics of a batch, gathered from all processes. `add_batch` makes
    statistics of predictions and references, and gives them to `add_statistics` as well.
    """

    _features: ClassVar[dict[str, Any]]
    _citation: ClassVar[str]
    _added: int

    def __init__(self) -> None:
        """Start empty; a subclass sets its own attributes before."""
        self._reset()
        super().__init__()

    @abstractmethod
    def _reset(self) -> None:
        """Empty the sums and set `_added` to 0."""

    @abstractmethod
    def _image_statistics(self, prediction: Any, reference: Any) -> Tensor:
        """Return the statistics (...) of one image."""

    @abstractmethod
    def add_statistics(self, statistics: Tensor) -> None:
        """Add the statistics (B, ...) of a batch."""

    @abstractmethod
    def _scores(self) -> dict[str, Any]:
        """Return the scores of the sums by name."""

    def _info(self) -> evaluate.MetricInfo:
        usage = inspect.getdoc(type(self)) or ""
        return evaluate.MetricInfo(
            description=usage.partition("\n")[0],
            citation=self._citation,
            inputs_description=f"\n\n{usage}",
            features=datasets.Features(self._features),
        )

    def _build_data_dir(self) -> str:
        """Return the cache folder without creating it, because the metric writes no file."""
        return str(self._data_dir_root)

    def __len__(self) -> int:
        """Return the number of images added since the last `compute`."""
        return self._added

    def add(self, *, prediction: Any = None, reference: Any = None, **_: Any) -> None:
        """Add one image; see `add_batch`."""
        self.add_batch(predictions=[prediction], references=[reference])

    def add_batch(self, *, predictions: Any = None, references: Any = None, **_: Any) -> None:
        """Add a batch of images, or no image if one of them cannot be scored.

        Args:
            predictions: One prediction per image, of tensors, arrays or nested lists; see the class.
            references: The truth, one per prediction.

        Raises:
            ValueError: If the number of images differs, or an image cannot be scored.
            TypeError: If an argument is missing or has the wrong type.
        """
        if predictions is None or references is None:
            raise TypeError(
                "`predictions` and `references` must both be given, got "
                f"{type(predictions).__name__} and {type(references).__name__}; pass both for a batch."
            )
        if len(predictions) != len(references):
            raise ValueError(
                f"`predictions` and `references` must have the same length, got {len(predictions)} and "
                f"{len(references)}; pass both for the same images."
            )
        images = [self._image_statistics(p, r) for p, r in zip(predictions, references, strict=True)]
        if images:
            self.add_statistics(pad_sequence(images, batch_first=True, padding_value=PADDING))

    def compute(self, *, predictions: Any = None, references: Any = None, **_: Any) -> dict[str, Any]:
        """Return the scores of all images added since the last call, and empty the sums.

        Args:
            predictions: Predictions to add first, as in `add_batch`.
            references: The truth, one per prediction.

        Raises:
            ValueError: If no image was added.
        """
        if predictions is not None or references is not None:
            self.add_batch(predictions=predictions, references=references)
        if self._added == 0:
            raise ValueError("`compute` needs at least one image, got none; call `add_batch` before it.")
        scores = self._scores()
        self._reset()
        return scores


def on_cpu(values: Any) -> Tensor:
    """Return a tensor, an array or nested lists as a tensor on the CPU, without gradient."""
    return torch.as_tensor(values).detach().cpu()
