"""What depth models predict: metres, depth up to a scale and a shift, or the same of 1 / depth."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple, get_args

from torch import Tensor
from transformers import PretrainedConfig

from ..data.load_depth import DepthKind
from ..losses.depth import DEPTH_LOSSES
from ._depth_maps import NEAREST

DEPTH_KINDS: tuple[str, ...] = get_args(DepthKind)

_NOTE = "structkd_depth_kind"
# Depth Pro's output is 1 / depth of a canonical camera, which only its image processor inverts.
_KINDS: Mapping[str, DepthKind] = {
    **dict.fromkeys(("chmv2", "glpn", "tipsv2_dpt", "zoedepth"), "metric"),
    "depth_pro": "inverse",
}
_KINDS_BY_NAME: Mapping[str, DepthKind] = {r"nyu|kitti": "metric", r"midas|intel/dpt": "inverse"}


class DepthKinds(NamedTuple):
    """What student and teacher predict.

    Attributes:
        student: What the student predicts.
        teacher: What the teacher predicts.
        loss: Name of the supervised loss.
        source: What says so of the teacher, for people; empty where it is assumed.
        chosen: What the user chose of student and loss; None where nothing was chosen.
    """

    student: DepthKind
    teacher: DepthKind
    loss: str
    source: str
    chosen: tuple[DepthKind | None, str | None]

    @classmethod
    def of(
        cls,
        student: PretrainedConfig,
        teacher: PretrainedConfig | None,
        loss: str | None,
        depth_kind: DepthKind | None,
        teacher_depth_kind: DepthKind | None,
        has_prompt: bool,
    ) -> DepthKinds:
        """Fill in what was not chosen: a student predicts what it did when it was trained, or metres.

        Raises:
            ValueError: If kinds and loss are unknown or do not go together.
        """
        known, source = kind_of(teacher, has_prompt=has_prompt)
        if teacher_depth_kind is not None or teacher is None:
            source = "as given"
        noted: DepthKind = getattr(student, _NOTE, "metric")
        own = depth_kind or noted
        loss_of_student = loss or ("silog" if own == "metric" else "ssi")
        theirs = teacher_depth_kind or known or "metric"
        check_kinds(loss_of_student, own, theirs)
        return cls(own, theirs, loss_of_student, source, (depth_kind, loss))

    def without_labels(self) -> DepthKinds:
        """Return the kinds of a student that learns from the teacher alone: what the teacher predicts.

        Raises:
            ValueError: If nothing says what that is, or a metric student was chosen and the teacher is none.
        """
        if not self.source:
            raise ValueError(
                "`teacher_depth_kind` must be given where there are no labels and the teacher's "
                "configuration does not say it, got None; name 'metric', or 'inverse' for MiDaS-style models."
            )
        kind, loss = self.chosen
        if kind == "metric" != self.teacher:
            raise ValueError(
                f"`depth_kind` must be {self.teacher!r} or left out where a teacher of {self.teacher} depth "
                "teaches alone, got 'metric': only labels tell metres; add a few labelled images."
            )
        kind = kind or self.teacher
        loss = loss or ("silog" if kind == "metric" else "ssi")
        check_kinds(loss, kind, self.teacher)
        return self._replace(student=kind, loss=loss)

    @property
    def leave_scale_open(self) -> bool:
        """Whether the two maps differ by a scale and a shift of each image."""
        return self.student != "metric" or self.teacher != "metric"

    def __str__(self) -> str:
        """Return a line of the start table."""
        source = self.source or "assumed: its configuration does not say; name `teacher_depth_kind`"
        text = f"{self.student} of the student, {self.teacher} of the teacher"
        return text if source == "as given" else f"{text}, {source}"


def check_kinds(loss: str, depth_kind: str, teacher_depth_kind: str) -> None:
    """Raise `ValueError` unless the loss and what the two models predict are known and go together."""
    for name, kind in (("depth_kind", depth_kind), ("teacher_depth_kind", teacher_depth_kind)):
        if kind not in DEPTH_KINDS:
            raise ValueError(f"`{name}` must be one of {', '.join(DEPTH_KINDS)}, got {kind!r}.")
    if loss not in DEPTH_LOSSES:
        raise ValueError(f"`loss` must be one of {', '.join(DEPTH_LOSSES)}, got {loss!r}.")
    if depth_kind != "metric" and loss != "ssi":
        raise ValueError(
            f"`loss` must be 'ssi' for a student of {depth_kind} depth, got {loss!r}: the others measure "
            "metres; choose 'ssi' or set `depth_kind` to 'metric'."
        )


def in_one_kind(
    student_map: Tensor, teacher_map: Tensor, depth_kind: DepthKind, teacher_depth_kind: DepthKind
) -> tuple[Tensor, Tensor]:
    """Return both maps in one kind of depth; of two kinds the metric map is inverted.

    Raises:
        ValueError: For a relative and an inverse map, neither of which can be turned into the other.
    """
    if {depth_kind, teacher_depth_kind} == {"relative", "inverse"}:
        raise ValueError(
            f"`teacher_depth_kind` {teacher_depth_kind} cannot be compared with a student of {depth_kind} "
            "depth, whose shift is unknown too; set `pixel_weight` and `holistic_weight` to 0, which leaves "
            "the pair-wise term, or train a metric student."
        )
    if (depth_kind == "inverse") != (teacher_depth_kind == "inverse"):
        # The inverse of a map whose shift is unknown means nothing.
        if teacher_depth_kind == "metric":
            teacher_map = 1 / teacher_map.clamp(min=NEAREST)
        else:
            student_map = 1 / student_map.clamp(min=NEAREST)
    return student_map, teacher_map


def kind_of(teacher: PretrainedConfig | None, *, has_prompt: bool = False) -> tuple[DepthKind | None, str]:
    """Return what a teacher predicts, None where nothing says so, and for people what does.

    A student of this library has it in its configuration, see `note_kind`. Depth Anything's
    `depth_estimation_type` is "metric", or "relative" for depth that is inverse. Most architectures predict
    one kind; a DPT may predict each, and only the names of the published ones say which. A Prompt Depth
    Anything answers in the unit of its prompt; without one, between the ends of a range that nobody knows.

    Raises:
        ValueError: If there is a prompt, and another model, which would be shown it in vain.
    """
    takes_prompt = getattr(teacher, "model_type", None) == "prompt_depth_anything"
    if has_prompt and teacher is not None:
        if not takes_prompt:
            raise ValueError(
                "`prompt_depth_column` is for a teacher that takes a prompt, Prompt Depth Anything, got one "
                f"of the type {teacher.model_type}; leave it out."
            )
        return "metric", "by its prompt"
    noted = getattr(teacher, _NOTE, None)
    if noted in DEPTH_KINDS:
        return noted, "by its configuration"
    if takes_prompt:
        return "relative", "for want of a prompt; name its column, `prompt_depth_column`"
    stated = getattr(teacher, "depth_estimation_type", None)
    if stated in ("metric", "relative"):
        return "metric" if stated == "metric" else "inverse", "by its configuration"
    architecture = str(getattr(teacher, "model_type", ""))
    if architecture in _KINDS:
        return _KINDS[architecture], "by its architecture"
    name = str(getattr(teacher, "name_or_path", "")).lower()
    for pattern, kind in _KINDS_BY_NAME.items():
        if re.search(pattern, name):
            return kind, "by its name"
    return None, ""


def note_kind(student: PretrainedConfig, kind: DepthKind) -> None:
    """Write into a student's configuration what it predicts, for whoever is taught by it later."""
    setattr(student, _NOTE, kind)
