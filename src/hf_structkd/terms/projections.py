"""The 1×1 projections that turn the student's channels into the teacher's, if their numbers differ."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from torch import Tensor, nn

from ..tasks import MapPair


def projections_for(pairs: Iterable[MapPair]) -> list[nn.Module]:
    """Return for each level a 1×1 convolution from the student's to the teacher's width, or an identity."""
    widths = [(pair.student.shape[1], pair.teacher.shape[1]) for pair in pairs]
    return [
        nn.Identity() if student == teacher else nn.Conv2d(student, teacher, kernel_size=1)
        for student, teacher in widths
    ]


def projected(pairs: Sequence[MapPair], projections: nn.ModuleList) -> list[tuple[Tensor, MapPair]]:
    """Return the student's map of each level in the teacher's channels, with the level's pair.

    Raises:
        RuntimeError: If there are not as many projections as levels.
    """
    if len(pairs) != len(projections):
        raise RuntimeError(
            f"the features have {len(pairs)} levels and the projections were made for {len(projections)}; "
            "images of all sizes must give as many levels as the first."
        )
    return [(projection(pair.student), pair) for pair, projection in zip(pairs, projections, strict=True)]
