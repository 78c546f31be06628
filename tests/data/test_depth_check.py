"""Depth is looked at before it is trained on: no file says in which unit it is written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import datasets
import numpy as np
import PIL.Image
import pytest

from hf_structkd.card import RunNotes
from hf_structkd.data import DepthMap, DepthOptions, load_depth_data
from hf_structkd.matching.normalization import ImageNormalization
from tests.cases import DEPTH, arguments, make_trainer

ROOM = np.tile(np.linspace(0.7, 9.8, 24).reshape(4, 6), (2, 2))  # metres, median 5.25
STREET = ROOM * 8  # 5.6 to 78 m, median 42


def load(folder: Path, maps: np.ndarray, **settings: Any) -> Any:
    """Two rows of an image of black and this map, as a file."""
    picture = PIL.Image.fromarray(maps)
    row = {"image": PIL.Image.new("RGB", picture.size), "depth": picture}
    rows = datasets.Dataset.from_list([row, row])
    datasets.DatasetDict({"train": rows, "validation": rows}).save_to_disk(folder)
    shared = {"normalization": ImageNormalization(), "image_size": maps.shape}
    return load_depth_data(str(folder), **{**shared, **settings})


def stored(metres: np.ndarray, units: float, kind: Any = np.uint16) -> np.ndarray:
    values = metres * units
    return (values if kind is np.float32 else values.round()).astype(kind)


@pytest.mark.parametrize(
    ("maps", "settings"),
    [
        (stored(ROOM, 1, np.float32), {}),
        (stored(ROOM, 1000), {}),
        (stored(ROOM, 1000, np.int32), {}),
        (stored(ROOM, 1000, np.float32), {"depth_scale": 0.001}),
        (stored(ROOM, 25.5, np.uint8), {"depth_scale": 10 / 255}),
    ],
)
@pytest.mark.parametrize("streaming", [False, True])
def test_the_unit_follows_the_stored_type(
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    maps: np.ndarray,
    settings: dict[str, Any],
    streaming: bool,
) -> None:
    """Metres in floats, read as millimetres, gave an AbsRel of 1,233 without a word."""
    data = load(tmp_path, maps, streaming=streaming, **settings)
    labels = next(iter(data.validation))["labels"].numpy()
    assert labels == pytest.approx(ROOM, abs=0.021)  # half a step of 8 bits
    assert caplog.records == []


@pytest.mark.parametrize(
    ("maps", "scale"),
    [
        (stored(ROOM, 1000, np.float32), r"0\.001 \(millimetres: 5.25 m\)"),
        (stored(ROOM, 100, np.float32), r"0\.01 \(centimetres: 5.25 m\)"),
        (stored(ROOM, 1), r"1 \(metres: 5 m\)"),
        (stored(ROOM, 20), "what the documentation"),
    ],
)
def test_a_unit_that_cannot_be_right_is_refused_with_those_that_could(
    tmp_path: Path, maps: np.ndarray, scale: str
) -> None:
    """A student of a depth of 5 km trains without a complaint."""
    message = (
        rf"`depth_scale` must be the metres of a stored unit: the median of the first depth maps.*{scale}"
    )
    if "what" in scale:
        message = r"`depth_scale` must be the metres of a stored unit: .*\(centimetres: 1.05 m\)"
    with pytest.raises(ValueError, match=message):
        load(tmp_path, maps)


def test_eight_bits_need_a_scale(tmp_path: Path) -> None:
    """Their steps are no millimetres: a room of a quarter of a metre was trained on."""
    with pytest.raises(
        ValueError, match=r"`depth_scale` must be given for depth in 8 bits, got uint8 in row 0"
    ):
        load(tmp_path, stored(ROOM, 25.5, np.uint8))


def sparse(maps: np.ndarray) -> np.ndarray:
    """Only every third pixel is measured, as by a lidar."""
    return np.where(np.arange(maps.size).reshape(maps.shape) % 3 == 0, maps, 0).astype(maps.dtype)


@pytest.mark.parametrize(
    ("maps", "scale"),
    [
        (stored(STREET, 256), "--depth_scale 0.00390625 (256 a metre, as in KITTI: 42 m)"),
        (sparse(stored(STREET / 4, 256)), "--depth_scale 0.00390625 (256 a metre, as in KITTI: 9.71 m)"),
        (stored(ROOM / 2, 5000), "--depth_scale 0.0002 (5000 a metre, as in TUM RGB-D: 2.62 m)"),
        (stored(ROOM / 10, 1, np.float32), "divided by the largest depth"),
    ],
)
def test_a_unit_that_is_unlikely_is_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, maps: np.ndarray, scale: str
) -> None:
    load(tmp_path, maps)
    assert "`depth_scale` may be another" in caplog.text
    assert scale in caplog.text


def test_a_scale_that_is_given_is_kept_and_doubted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Data of another world, a microscope's say, can be trained on."""
    data = load(tmp_path, stored(ROOM, 1000), depth_scale=1)
    assert float(data.validation[0]["labels"].max()) == 9800
    assert "--depth_scale 0.001 (millimetres: 5.25 m)" in caplog.text


def test_values_at_the_limit_of_their_type_are_told_and_can_be_holes(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A sky of 65.535 m that nobody measured."""
    maps = stored(ROOM, 1000)
    maps[0] = 65535
    load(tmp_path / "a", maps, depth_scale=0.001)
    assert (
        "12 % of the measured pixels of the first depth maps of train are 65535, the largest" in caplog.text
    )
    caplog.clear()
    data = load(tmp_path / "b", maps, depth_hole=65535)
    assert not data.validation[0]["labels"][0].any()
    assert caplog.records == []


def test_holes_at_the_limit_say_nothing_of_the_unit(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Millimetres with holes of 65535 reached to 65 m, and were called KITTI's."""
    maps = stored(ROOM, 1000)
    maps[0] = 65535
    load(tmp_path, maps)
    assert "--depth_hole 65535" in caplog.text
    assert "may be another" not in caplog.text


def test_a_far_away_value_among_floats_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The sky of a rendered street is 1e10 m."""
    maps = stored(ROOM, 1, np.float32)
    maps[0] = 1e10
    load(tmp_path, maps)
    assert "--depth_hole 1e+10" in caplog.text


def test_maps_without_any_measured_pixel_are_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert load(tmp_path, np.zeros((8, 12), np.uint16)).train.notes == {}
    assert "None of the pixels of the first depth maps of train is measured" in caplog.text


def test_the_notes_say_range_median_holes_and_unit(tmp_path: Path) -> None:
    """The one line that shows a wrong unit to whoever knows the room."""
    maps = stored(ROOM, 1000)
    maps[0, :] = 0
    notes = load(tmp_path, maps, unlabeled_dataset_name=str(tmp_path)).train.notes
    metres = maps[maps > 0] / 1000
    near, median, far = np.quantile(metres, [0.01, 0.5, 0.99])
    assert notes == {
        "depth data": f"{near:.2g} to {far:.2g} m, median {median:.2g} m, 12 % not measured; uint16 × 0.001 m"
    }


def test_the_start_table_and_the_card_say_the_unit_that_was_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A default that follows the file must be told, or nobody can repeat the run."""
    data = load(tmp_path / "data", stored(ROOM, 1000), image_size=(64, 64))
    args = arguments(tmp_path / "student", max_steps=1, holistic_weight=0.0)
    trainer = make_trainer(DEPTH, args, train_dataset=data.train, eval_dataset=data.validation)
    trainer.train()
    (line,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("depth data")]
    assert line == f"depth data    {data.train.notes['depth data']}"
    trainer.run_notes = RunNotes(data=DepthOptions(dataset_name=str(tmp_path / "data")))
    trainer.create_model_card()
    assert "- **Depth data:** 0.7" in (tmp_path / "student" / "README.md").read_text()


def test_a_map_is_read_by_its_own_type() -> None:
    """A dataset may hold both, one in each split."""
    target = DepthMap()
    for value in (np.array([[2.5, 0.0]]), np.array([[2500, 0]], np.uint16)):
        assert target.decode(value, where="here").tolist() == [[2.5, 0.0]]
