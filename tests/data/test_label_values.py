"""Masks store what people's tools write: other values, colours, other conventions; none passes in silence."""

from __future__ import annotations

import io
import json
import logging
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import PIL.Image
import pytest

from hf_structkd.data import ClassMap, load_depth_data, load_detection_data, load_segmentation_data
from hf_structkd.data.label_values import LabelValues
from hf_structkd.matching.normalization import ImageNormalization
from hf_structkd.scenes.scenes import CLASS_NAMES

IDS = np.random.default_rng(0).integers(0, 2, (3, 12, 16))
TWO, THREE = ["background", "object"], ["background", "cat", "dog"]
COLORS = np.array([[0, 0, 0], [128, 0, 0], [0, 0, 255]], np.uint8)


def written(mask: Any, kind: str = "PNG", **options: Any) -> dict[str, Any]:
    image = mask if isinstance(mask, PIL.Image.Image) else PIL.Image.fromarray(mask)
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return {"bytes": buffer.getvalue(), "path": None}


def saved(folder: Path, masks: Any, names: list[str] | None = None, **options: Any) -> str:
    """A folder whose training and validation rows have these masks."""
    files = [written(mask, **options) for mask in masks]
    images = [written(np.zeros((*np.shape(mask)[:2], 3), np.uint8)) for mask in masks]
    rows = datasets.Dataset.from_dict(
        {"image": images, "label": files},
        features=datasets.Features(dict.fromkeys(("image", "label"), datasets.Image())),
    )
    datasets.DatasetDict({"train": rows, "validation": rows}).save_to_disk(folder / "data")
    if names is not None:
        (folder / "data" / "id2label.json").write_text(json.dumps(names))
    return str(folder / "data")


def load(name: str, **options: Any) -> Any:
    return load_segmentation_data(name, normalization=ImageNormalization(), image_size=(12, 16), **options)


def gray(*values: int, ids: np.ndarray = IDS) -> np.ndarray:
    """The masks of `IDS`, with these values in the place of the ids."""
    return np.array(values, np.uint8)[ids]


# ---- values of one's own ----


@pytest.mark.parametrize("streaming", [False, True])
def test_an_object_stored_as_255_is_not_taken_for_ignored(tmp_path: Path, streaming: bool) -> None:
    """Every labelled pixel is background then, and the mean IoU of a model that finds nothing is 1."""
    name = saved(tmp_path, gray(0, 255), TWO)
    ignored = round(100 * (IDS == 1).mean())
    message = (
        rf"holds the class 'object', while {ignored} % of their pixels are ignored: they hold the values "
        r"0 and 255, .*pass `--label_values 0 255` .*, and `--label_values 0 1` if it is not"
    )
    with pytest.raises(ValueError, match=message):
        load(name, streaming=streaming)
    data = load(name, streaming=streaming, label_values=["0", "255"])
    assert [row["labels"].tolist() for row in data.validation] == IDS.tolist()


def test_a_third_class_stored_as_255_is_not_taken_for_ignored(tmp_path: Path) -> None:
    ids = np.random.default_rng(1).integers(0, 3, (3, 12, 16))
    name = saved(tmp_path, gray(0, 1, 255, ids=ids), THREE)
    with pytest.raises(ValueError, match=r"the class 'dog', .*--label_values 0 1 255"):
        load(name)
    assert [row["labels"].tolist() for row in load(name, label_values=[0, 1, 255]).validation] == ids.tolist()


def test_who_lists_the_values_may_ignore_the_rest(tmp_path: Path) -> None:
    """A class may be missing from a small part of the data; the refusal must have a way out."""
    data = load(saved(tmp_path, gray(0, 255), TWO), label_values=["0", "1"])
    assert [row["labels"].tolist() for row in data.validation] == gray(0, 255).tolist()


def test_a_class_missing_beside_ignored_pixels_is_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    ids = np.random.default_rng(1).integers(0, 4, (3, 12, 16))
    name = saved(tmp_path, gray(0, 1, 3, 255, ids=ids), [*THREE, "cow"])
    with caplog.at_level(logging.WARNING):
        load(name)
    assert "The 6 masks looked at hold no pixel of 'dog'; 2" in caplog.text


@pytest.mark.parametrize(
    "mode", ["RGB", "RGBA", "P", "array"], ids=["colours", "transparency", "palette", "array"]
)
def test_colours_become_classes_in_the_order_given(mode: str) -> None:
    ids = np.random.default_rng(2).integers(0, 3, (4, 5))
    value: Any = COLORS[ids]
    if mode == "P":
        value = PIL.Image.fromarray(ids.astype(np.uint8))
        value.putpalette(COLORS.tobytes())
    if mode != "array":
        value = written(value if mode == "P" else PIL.Image.fromarray(value).convert(mode))
    values = LabelValues.parse(["#000000", "#800000", "#0000ff"])
    label = ClassMap(num_labels=3, label_values=values).decode(value, where="here")
    assert label.tolist() == ids.tolist()


def test_colours_are_read_through_the_loader_and_refused_without_their_list(tmp_path: Path) -> None:
    name = saved(tmp_path, COLORS[IDS], TWO)
    with pytest.raises(ValueError, match=r"one integer class id per pixel, .*list the colour of each class"):
        load(name)
    data = load(name, label_values=["#000000", "#800000"])
    assert [row["labels"].tolist() for row in data.validation] == IDS.tolist()


def test_gray_masks_saved_with_three_channels_are_gray() -> None:
    mask = np.repeat(IDS[0].astype(np.uint8)[..., None], 3, axis=-1)
    assert ClassMap(num_labels=2).decode(written(mask), where="here").tolist() == IDS[0].tolist()


def test_a_value_that_is_not_listed_is_named(tmp_path: Path) -> None:
    """Made a class or ignored by chance, it would be trained on or lost."""
    target = ClassMap(num_labels=2, label_values=LabelValues.parse([0, 128]))
    assert target.decode(np.array([[0, 128, 255]]), where="row 3").tolist() == [[0, 1, 255]]
    with pytest.raises(ValueError, match=r"2 `label_values` or be ignore_index=255, got 7 in row 3; list it"):
        target.decode(np.array([[0, 7, 255]]), where="row 3")
    # 255 as a number is the colour blue, which nobody said to ignore.
    target = ClassMap(num_labels=2, label_values=LabelValues.parse(["#000000", "#800000"]))
    with pytest.raises(ValueError, match="2 `label_values`, got #0000ff in row 3"):
        target.decode(COLORS[None, [0, 2]], where="row 3")


def test_a_listed_value_in_the_place_of_the_ignored_label_is_ignored() -> None:
    """Borders drawn in a colour have no class, and a colour cannot be `ignore_index` itself."""
    values = LabelValues.parse(["#000000", "#800000", "#0000ff"])
    target = ClassMap(num_labels=2, ignore_index=2, label_values=values)
    assert target.decode(COLORS[None], where="here").tolist() == [[0, 1, 2]]


def test_values_become_ids_before_these_are_reduced() -> None:
    target = ClassMap(num_labels=2, reduce_labels=True, label_values=LabelValues.parse([0, 10, 20]))
    assert target.decode(np.array([[0, 10, 20, 255]]), where="here").tolist() == [[255, 0, 1, 255]]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (["0", "#ff0000"], r"must be integers \(0 255\) or colours .*, got 0 #ff0000"),
        (["red", "blue"], "must be integers .*, got red blue"),
        (["0", "255", "0"], "must name a value once, got 0 more than once"),
    ],
)
def test_stored_values_must_be_one_kind_and_distinct(values: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=f"`label_values` {message}"):
        LabelValues.parse(values)


@pytest.mark.parametrize("values", [[0], [0, 1, 2]])
def test_stored_values_are_as_many_as_the_classes(values: list[int]) -> None:
    with pytest.raises(ValueError, match=rf"value of each of the 2 class ids, got {len(values)};"):
        ClassMap(num_labels=2, label_values=LabelValues.parse(values))


# ---- what is seen before training ----


@pytest.mark.parametrize(
    ("values", "names", "advice"),
    [
        ((0, 127), TWO, "got the values 0 and 127 in column 'label'; .* pass `--label_values 0 127`"),
        ((1, 2), TWO, "got the values 1 and 2 .*; if 0 is no class and the ids start at 1, pass `reduce_lab"),
    ],
)
def test_values_out_of_range_are_listed_before_training(
    tmp_path: Path, values: tuple[int, int], names: list[str], advice: str
) -> None:
    """The first row that is read names one value; the convention shows in all of them."""
    with pytest.raises(ValueError, match=rf"Labels must lie in \[0, 2\) for 2 class names .*{advice}"):
        load(saved(tmp_path, gray(*values), names))


# ---- lossy files ----


def blobs(*values: Any) -> np.ndarray:
    """Three masks of 48 x 64 pixels with one disc of every class but the first."""
    y, x = np.mgrid[:48, :64]
    ids = np.zeros((3, 48, 64), int)
    for one in range(3):
        ids[one][(y - 24) ** 2 + (x - 16) ** 2 < 90 + 20 * one] = 1
        ids[one][(y - 24) ** 2 + (x - 46) ** 2 < 90 + 20 * one] = len(values) - 1
    return ids


@pytest.mark.parametrize(
    ("kind", "said", "values"), [("JPEG", "JPEG", []), ("WEBP", "WebP", ["#000000", "#ffffff"])]
)
def test_masks_of_a_lossy_format_are_refused_with_their_odd_values(
    tmp_path: Path, kind: str, said: str, values: list[str]
) -> None:
    """Beside every edge there are other values: those that are class ids are trained on as such."""
    masks = np.repeat(gray(0, 255, ids=blobs(0, 255))[..., None], 3, axis=-1)
    files = [written(one, kind, quality=60) for one in masks]
    seen = {tuple(pixel) for one in files for pixel in decoded(one).reshape(-1, 3)}
    right = {(0, 0, 0), (255, 255, 255), (1, 1, 1)} if not values else {(0, 0, 0), (255, 255, 255)}
    name = saved(tmp_path, masks, TWO, kind=kind, quality=60)
    odd = rf"{len(seen - right)} of their {len(seen)} values"
    with pytest.raises(
        ValueError, match=rf"6 of the 6 masks .* as {said}, which does not keep values: {odd}"
    ):
        load(name, label_values=values)
    target = ClassMap(num_labels=2, label_values=LabelValues.parse(values))
    with pytest.raises(ValueError, match=rf"label in row 7 is stored as {said}, .*`allow_lossy_masks`"):
        target.decode(files[0], where="row 7")


def decoded(file: dict[str, Any]) -> np.ndarray:
    return np.asarray(PIL.Image.open(io.BytesIO(file["bytes"])))


def test_a_lossless_webp_is_taken() -> None:
    mask = np.repeat(IDS[0].astype(np.uint8)[..., None], 3, axis=-1)
    assert ClassMap(num_labels=2).decode(written(mask, "WEBP", lossless=True), where="").tolist() == (
        IDS[0].tolist()
    )


@pytest.mark.parametrize("values", [(0, 128, 255), ("#000000", "#00ff00", "#ff0000")])
def test_allowed_lossy_masks_take_the_nearest_value_or_none(
    tmp_path: Path, values: tuple[Any, ...], caplog: pytest.LogCaptureFixture
) -> None:
    """No pixel may get a third class on the edge of two others; nearly all must get their own."""
    ids = blobs(*values)
    palette = np.array(values, np.uint8) if values[0] == 0 else np.eye(4, 3, -1, np.uint8)[[0, 2, 1]] * 255
    name = saved(tmp_path, palette[ids], THREE, kind="JPEG", quality=75)
    with caplog.at_level(logging.WARNING):
        data = load(name, label_values=list(values), allow_lossy_masks=True)
    assert "each is taken for the nearest of `label_values`" in caplog.text
    for row, true in zip(data.validation, ids, strict=True):
        label = row["labels"].numpy()
        counts = label != 255
        assert (label[counts] == true[counts]).all()
        assert counts.mean() > 0.8


def test_lossy_masks_need_the_values_that_they_had() -> None:
    """Ids one apart do not survive: 1 and 2 become each other."""
    with pytest.raises(ValueError, match="`allow_lossy_masks` needs `label_values`"):
        ClassMap(num_labels=2, allow_lossy_masks=True)


# ---- reduced labels and their names ----


RAW = np.random.default_rng(3).integers(0, 3, (3, 12, 16))


@pytest.mark.parametrize("zero", ["background", "Back-Ground", "void", "unlabeled", "other", "ignore"])
def test_names_of_the_stored_ids_are_shifted_with_them(
    tmp_path: Path, zero: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Else every class has its neighbour's name, and a good teacher scores 0."""
    name = saved(tmp_path, gray(0, 1, 2, ids=RAW), [zero, "cat", "dog"])
    with caplog.at_level(logging.WARNING):
        data = load(name, reduce_labels=True)
    assert data.id2label == {0: "cat", 1: "dog"}
    assert [row["labels"].tolist() for row in data.validation] == np.where(RAW == 0, 255, RAW - 1).tolist()
    assert f"have {zero!r} at id 0, which `reduce_labels` ignores" in caplog.text


def test_a_class_whose_id_is_ignored_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """It is in the names and in no score."""
    with caplog.at_level(logging.WARNING):
        load(saved(tmp_path, gray(0, 1, 2, ids=RAW), THREE), ignore_index=0)
    assert "The class 'background' has the id 0, which is `ignore_index`: it is neither" in caplog.text


def test_names_that_leave_0_out_stay(tmp_path: Path) -> None:
    """The background can be a class: id 1 here, below an unlabelled 0, as the highest id shows."""
    names = ["background", "cat"]
    assert load(saved(tmp_path, gray(0, 1, 2, ids=RAW), names), reduce_labels=True).id2label == dict(
        enumerate(names)
    )


def test_names_of_an_uncertain_numbering_are_refused(tmp_path: Path) -> None:
    name = saved(tmp_path, gray(0, 1, 2, ids=RAW), ["sky", "cat", "dog"])
    with pytest.raises(ValueError, match=r"no pixel of the last class 'dog' .*before 1 is subtracted, leave"):
        load(name, reduce_labels=True)
    # As many listed values as names: the names are certainly those of the stored ids.
    data = load(name, reduce_labels=True, label_values=["0", "1", "2"])
    assert data.id2label == {0: "cat", 1: "dog"}


def test_names_of_the_scenes_are_shifted_with_their_ids() -> None:
    data = load_segmentation_data(
        normalization=ImageNormalization(), reduce_labels=True, max_train_samples=1, max_eval_samples=1
    )
    assert list(data.id2label.values()) == list(CLASS_NAMES[1:])


@pytest.mark.parametrize("ignored", [0, 1, 2])
def test_the_ignored_label_of_reduced_ids_is_no_class(ignored: int) -> None:
    """A class whose id it is would be ignored with it."""
    with pytest.raises(ValueError, match=f"no class id with `reduce_labels`, got {ignored} for 2 classes"):
        ClassMap(num_labels=2, reduce_labels=True, ignore_index=ignored)


# ---- columns that hold no masks ----


@pytest.mark.parametrize("streaming", [False, True])
@pytest.mark.parametrize(
    ("loader", "needed"),
    [
        (load_segmentation_data, "`label_column` must be a column of masks, got 'label', which"),
        (load_depth_data, "`depth_column` must be a column of depth maps, got 'depth', .* and 'label'"),
        (load_detection_data, "`objects_column` must be a column of .*, got 'objects', .* and 'label'"),
    ],
)
def test_the_class_of_a_folder_is_no_target(
    tmp_path: Path, loader: Any, needed: str, streaming: bool
) -> None:
    """`imagefolder` calls the name of the folder `label`, and a mask beside it is not read."""
    for part in ("train", "validation"):
        for kind in ("cat", "dog"):
            (tmp_path / part / kind).mkdir(parents=True)
            PIL.Image.new("RGB", (16, 12)).save(tmp_path / part / kind / "0.png")
    message = rf"{needed} holds one class of each image \(cat and dog\), .*columns are image and label"
    with pytest.raises(ValueError, match=message):
        loader(str(tmp_path), normalization=ImageNormalization(), streaming=streaming)


def test_a_number_is_no_mask() -> None:
    """A stream may know nothing of its columns before it is read."""
    with pytest.raises(ValueError, match="label in row 3 must be a mask, got the number 1; name the column"):
        ClassMap(num_labels=2).decode(1, where="row 3")


# ---- masks without a label ----


def test_masks_without_a_labelled_pixel_are_refused_or_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Dummy labels: the loss is 0 at every step, and the student that was never trained is saved."""
    name = saved(tmp_path, gray(255, 255), TWO)
    with pytest.raises(
        ValueError, match=r"No pixel of the 3 training masks .* 255, .*`unlabeled_dataset_name"
    ):
        load(name)
    good = datasets.load_from_disk(saved(tmp_path / "good", gray(0, 1)))
    rows = datasets.DatasetDict(
        {"train": good["train"], "validation": datasets.load_from_disk(name)["train"]}
    )
    rows.save_to_disk(tmp_path / "both")
    (tmp_path / "both" / "id2label.json").write_text(json.dumps(TWO))
    with caplog.at_level(logging.WARNING):
        load(str(tmp_path / "both"))
    assert "No pixel of the 3 validation masks looked at has a class" in caplog.text


def test_masks_with_one_class_alone_are_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Colours of an RGBA file can all be black, with the object in its transparency: mean IoU is 1 then."""
    load(saved(tmp_path, gray(0, 0), TWO))
    assert "hold no pixel of 'object'" in caplog.text


def test_classes_that_begin_late_in_a_stream_raise_no_doubt(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    ids = np.tile(np.array([0, 1, 2, 2], np.uint8), (16, 12, 4))
    name = saved(tmp_path, gray(0, 1, 255, ids=ids), [*THREE, "cow", "owl"])
    load(name, streaming=True)
    assert not caplog.records
