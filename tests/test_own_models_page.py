"""The page on networks of one's own runs as it stands."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
import torch

PAGE = Path(__file__).parents[1] / "docs" / "own_models.md"


# Training pins memory by default, and torch warns where no accelerator is.
@pytest.mark.filterwarnings("ignore:.*pin_memory:UserWarning")
def test_the_page_runs_as_it_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, trusted_code: None
) -> None:
    network, *programs = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert len(programs) == 2
    assert len([line for line in programs[0].splitlines() if line.strip()]) <= 24
    (tmp_path / "unet.py").write_text(network, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    torch.manual_seed(0)
    names: dict[str, Any] = {"__name__": "__main__"}
    try:
        for program in programs:
            exec(compile(program, str(PAGE), "exec"), names)
    finally:
        sys.modules.pop("unet", None)
    image = PIL.Image.fromarray(np.full((64, 64, 3), 128, dtype=np.uint8))
    assert {part["label"] for part in names["predict"](image)} <= set(names["data"].id2label.values())
