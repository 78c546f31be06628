"""Each bad input of the table is refused with the sentence that stands beside it."""

from __future__ import annotations

import io
import re
from contextlib import redirect_stderr
from pathlib import Path

import pytest

from hf_structkd.data import BadImageError
from hf_structkd.data.decoding import decode_image

from .inputs import BOX, Place, objects, raw
from .table import TABLE, Bad


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("shared")


@pytest.mark.parametrize("bad", TABLE, ids=lambda bad: f"{bad.kind}: {bad.name}")
def test_a_bad_input_is_refused_in_one_sentence(bad: Bad, shared: Path, tmp_path: Path) -> None:
    """A message from deep inside names neither the input nor what to do; silence gives a wrong number."""
    said = io.StringIO()
    errors = (ValueError, TypeError, OSError, RuntimeError, SystemExit)
    with pytest.raises(errors) as caught, redirect_stderr(said):
        bad.make(Place(tmp_path, shared))
    text = str(caught.value)
    if caught.type is SystemExit:  # argparse writes its sentence and exits
        *_, text = said.getvalue().strip().splitlines()
    assert re.search(bad.sentence, text), text
    assert "\n" not in text


def test_an_input_has_a_name_of_its_own() -> None:
    assert len({(bad.kind, bad.name) for bad in TABLE}) == len(TABLE)


def test_an_image_without_boxes_is_fine_beside_others(tmp_path: Path) -> None:
    rows = ({"bbox": [BOX], "category": [0]}, {"bbox": [], "category": []}, None)
    boxes, _ = objects(*rows)(Place(tmp_path, tmp_path))
    assert [len(one) for one in boxes][1:] == [0, 0]


def test_an_image_of_no_bytes_shows_no_address_of_memory() -> None:
    with pytest.raises(BadImageError) as caught:
        decode_image(raw(b""), where="row 0")
    assert " at 0x" not in str(caught.value)
