"""How a command line that slipped must end."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from hf_structkd.cli.endings import ExitCode
from hf_structkd.cli.main import main


def check_slip(
    capsys: pytest.CaptureFixture[str], words: Sequence[str], code: ExitCode, sentence: str
) -> None:
    """Check that the command ends with this code and one line, which holds the sentence."""
    with pytest.raises(SystemExit) as end:
        main(list(words))
    (line,) = capsys.readouterr().err.splitlines()
    assert end.value.code == code
    assert sentence in line
