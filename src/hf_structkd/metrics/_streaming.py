"""What the streaming metrics share: an `evaluate.Metric` that keeps sums instead of outputs."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import evaluate
import torch
from torch import Tensor


class StreamingImageMetric(evaluate.Metric):
    """An `evaluate.Metric` over pairs of tensors, one pair an image, that keeps little and writes no file.

    A subclass says how images enter its sums, what the scores of the sums are and what empty sums look like;
    it sets its own attributes and calls `_reset` before ``super().__init__()``.
    """

    _added: int

    @abstractmethod
    def _reset(self) -> None:
        """Empty the sums and set ``_added`` to 0."""

    @abstractmethod
    def _add_images(self, maps: list[tuple[Tensor, Tensor]]) -> None:
        """Add pairs (prediction, reference) of tensors on the CPU; at least one."""

    @abstractmethod
    def _scores(self) -> dict[str, Any]:
        """Scores of the sums."""

    def _build_data_dir(self) -> str:
        """Keeps the base class from creating its cache folder: nothing is ever written there."""
        return str(self._data_dir_root)

    def __len__(self) -> int:
        """Number of images added since the last `compute`."""
        return self._added

    def add(self, *, prediction: Any = None, reference: Any = None, **_: Any) -> None:
        """Adds one image: maps ``prediction`` and ``reference``, both (H, W); see `add_batch`."""
        self.add_batch(predictions=[prediction], references=[reference])

    def add_batch(self, *, predictions: Any = None, references: Any = None, **_: Any) -> None:
        """Adds a batch of maps, as tensors, arrays or nested lists.

        Args:
            predictions: (B, H, W), or B maps (H_i, W_i).
            references: the truth, one map per prediction.

        Raises:
            ValueError: if the number of maps differs, or a map is not one that the metric can score.
            TypeError: if an argument is missing or a map has the wrong type.
        """
        if predictions is None or references is None:
            raise TypeError(
                "`predictions` and `references` must both be given, got "
                f"{type(predictions).__name__} and {type(references).__name__}; pass the maps of a batch."
            )
        if len(predictions) != len(references):
            raise ValueError(
                f"`predictions` and `references` must have the same length, got {len(predictions)} and "
                f"{len(references)}; pass both for the same images."
            )
        maps = [
            (torch.as_tensor(p).cpu(), torch.as_tensor(r).cpu())
            for p, r in zip(predictions, references, strict=True)
        ]
        if maps:
            self._add_images(maps)

    def compute(self, *, predictions: Any = None, references: Any = None, **_: Any) -> dict[str, Any]:
        """Scores everything added since the last call, then starts afresh.

        Args:
            predictions: maps to add first, as in `add_batch`.
            references: their truth.

        Returns:
            The scores that the class lists, by name.

        Raises:
            ValueError: if nothing was added.
        """
        if predictions is not None or references is not None:
            self.add_batch(predictions=predictions, references=references)
        if self._added == 0:
            raise ValueError("`compute` needs at least one image, got none; call `add_batch` before it.")
        scores = self._scores()
        self._reset()
        return scores
