"""The base of the streaming metrics: an `evaluate.Metric` that keeps sums instead of outputs."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import evaluate
import torch
from torch import Tensor


class StreamingImageMetric(evaluate.Metric):
    """An `evaluate.Metric` that keeps little memory and writes no file.

    Trainer calls `add_statistics` and `scores`; users of `evaluate` call `add_batch` and `compute`. Both ways
    lead to the same sums. A subclass sets its own attributes and calls `_reset` before `super().__init__()`.
    """

    _added: int

    @abstractmethod
    def _reset(self) -> None:
        """Empty the sums and set `_added` to 0."""

    @abstractmethod
    def add_statistics(self, statistics: Tensor) -> None:
        """Add the statistics (B, ...) of a batch, gathered from all processes."""

    @abstractmethod
    def _add_images(self, maps: list[tuple[Tensor, Tensor]]) -> None:
        """Add one or more pairs (prediction, reference) of tensors on the CPU."""

    @abstractmethod
    def _scores(self) -> dict[str, Any]:
        """Return the scores of the sums by name."""

    def _build_data_dir(self) -> str:
        """Return the cache folder without creating it, because the metric writes no file."""
        return str(self._data_dir_root)

    def __len__(self) -> int:
        """Return the number of images added since the last `compute`."""
        return self._added

    def add(self, *, prediction: Any = None, reference: Any = None, **_: Any) -> None:
        """Add one image: maps `prediction` and `reference`, both (H, W); see `add_batch`."""
        self.add_batch(predictions=[prediction], references=[reference])

    def add_batch(self, *, predictions: Any = None, references: Any = None, **_: Any) -> None:
        """Add a batch of maps, given as tensors, arrays or nested lists.

        Args:
            predictions: The predicted maps, (B, H, W) or B maps (H_i, W_i).
            references: The true maps, one per prediction.

        Raises:
            ValueError: If the number of maps differs, or the metric cannot score a map.
            TypeError: If an argument is missing or a map has the wrong type.
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
        """Return the scores of all images added since the last call, and empty the sums.

        Args:
            predictions: Maps to add first, as in `add_batch`.
            references: The true maps of these predictions.

        Returns:
            The scores that the class lists, by name.

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

    def scores(self) -> dict[str, float]:
        """Call `compute` and return the scores that are single numbers, because a log takes no lists."""
        return {name: value for name, value in self.compute().items() if isinstance(value, float)}
