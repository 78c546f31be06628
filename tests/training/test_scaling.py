"""What scales, what is refused, and the arithmetic of what processes send to one another."""

from __future__ import annotations

from pathlib import Path

import pytest

from ..cases import SEGMENTATION, arguments, make_trainer


def test_fsdp_is_refused_on_cpus_too(tmp_path: Path) -> None:
    """Accelerate trains with DDP there and says nothing: a user believes that the student was sharded."""
    with pytest.raises(ValueError, match="`fsdp` is not supported"):
        arguments(tmp_path, fsdp=True)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("ACCELERATE_USE_FSDP", "true", "`fsdp` is not supported"),
        ("ACCELERATE_DYNAMO_BACKEND", "EAGER", "pass `torch_compile=True`"),
    ],
)
def test_what_a_launcher_asks_for_is_refused(
    name: str, value: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Settings of `accelerate launch` reach the trainer through the environment, past its arguments."""
    monkeypatch.setenv(name, value)
    with pytest.raises(ValueError, match=message):
        make_trainer(SEGMENTATION, arguments(tmp_path))
