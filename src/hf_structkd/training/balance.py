"""Weights in units of the supervised loss, measured from the gradients of a training's first steps."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import torch
from accelerate.utils import reduce
from torch import Tensor, nn

BALANCE_FILE = "structkd_balance.json"


class GradientBalance:
    """Measures how strongly each term moves the student, and what makes it as strong as the first one.

    The strength of a term is the norm of its gradient, unweighted, with respect to those parameters of the
    student that every term moves: a layer that one term does not reach counts for none. It is added up over
    the first micro-batch of each of the first steps. The factor of a term is the strength of the reference
    divided by its own, both of the steps that measured the term; the reference is the supervised loss or,
    where that is off, the first term that is on. After these steps the factors stay as they are, so that a
    term which falls also fades.

    Args:
        steps: How many steps are measured; 0 measures nothing, and every factor is 1.
    """

    def __init__(self, steps: int) -> None:
        """Start without a measurement."""
        self.steps = steps
        self._strengths: dict[str, float] = {}
        self._references: dict[str, float] = {}  # the reference's, of the steps that measured the term
        self._measured = 0

    def factor(self, name: str) -> float:
        """Return what the weight of a term is multiplied by; 1 for a term without a measured gradient."""
        own = self._strengths.get(name, 0.0)
        return self._references[name] / own if own > 0 else 1.0

    def refuse_unmeasured(self, names: Iterable[str]) -> None:
        """Raise `ValueError` for a term that came on after the measured steps: its weight is no share."""
        late = [name for name in names if self.steps and name not in self._strengths]
        if late:
            raise ValueError(
                f"`{late[0]}_weight` must be above 0 in the first {self.steps} steps, in which its "
                "share is measured, got 0 there; begin with a small one, or set `balance_steps` to 0."
            )

    @property
    def note(self) -> dict[str, str]:
        """The line of the start table that says what weights are, by its label."""
        text = f"shares of the first term's gradient, measured over {self.steps} steps"
        return {"weights": text} if self.steps else {}

    def wants(self, step: int) -> bool:
        """Return whether a step, counted from 0, is still to be measured."""
        return self._measured <= step < self.steps

    @staticmethod
    def uncompiled() -> AbstractContextManager[Any]:
        """Run compiled models as they were before: compiled code frees what a second backward needs."""
        eager: AbstractContextManager[Any] = torch.compiler.set_stance("force_eager")
        return eager

    def measure(self, step: int, values: Mapping[str, Tensor], model: nn.Module) -> None:
        """Add the strengths of the terms on one micro-batch, averaged over the processes.

        Args:
            step: The step of the optimiser, counted from 0.
            values: The unweighted terms with their graphs, by name; the first one is the reference.
            model: The student.
        """
        parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
        norms: Tensor = reduce(_shared_norms(list(values.values()), parameters), reduction="mean")
        for name, norm in zip(values, norms.tolist(), strict=True):
            self._strengths[name] = self._strengths.get(name, 0.0) + norm
            self._references[name] = self._references.get(name, 0.0) + float(norms[0])
        self._measured = step + 1

    def save(self, folder: str | Path) -> None:
        """Write what was measured into a checkpoint."""
        if self._measured:
            strengths, references = self._strengths, self._references
            state = {"measured": self._measured, "strengths": strengths, "references": references}
            (Path(folder) / BALANCE_FILE).write_text(json.dumps(state, indent=2) + "\n", encoding="utf-8")

    def load(self, folder: str | Path) -> None:
        """Read back what `save` wrote.

        Raises:
            FileNotFoundError: If the file is missing: other weights would change the run silently.
        """
        path = Path(folder) / BALANCE_FILE
        if not self.steps:
            return
        if not path.is_file():
            raise FileNotFoundError(
                f"{folder} holds no {BALANCE_FILE}, so that the weights which it was trained with are not "
                "known; resume from a checkpoint written with `balance_steps` above 0, or start anew."
            )
        state = json.loads(path.read_text(encoding="utf-8"))
        self._measured = state["measured"]
        self._strengths, self._references = state["strengths"], state["references"]


def _shared_norms(losses: Sequence[Tensor], parameters: Sequence[nn.Parameter]) -> Tensor:
    """Return the norm of each loss's gradient with respect to the parameters that all of them reach."""
    gradients = [
        torch.autograd.grad(loss, parameters, retain_graph=True, allow_unused=True) for loss in losses
    ]
    shared = [column for column in zip(*gradients, strict=True) if all(g is not None for g in column)]
    if not shared:
        return torch.ones(len(losses), device=losses[0].device)
    return torch.stack(
        [
            torch.stack([g.float().norm() for g in row if g is not None]).norm()
            for row in zip(*shared, strict=True)
        ]
    )
