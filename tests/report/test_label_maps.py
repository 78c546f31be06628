"""The picture of predictions shows every pixel in its class's colour and scores the right ones."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure

from hf_structkd.report import PictureRow, class_palette, plot_label_maps
from hf_structkd.report._palette import _oklab

from .figures import check_page, figure_of

NAMES = ["background", "disc", "square", "bar"]


def row(label: Any, **predictions: Any) -> PictureRow[Any]:
    return PictureRow(np.full((*np.shape(label), 3), 0.5), np.array(label), predictions)


def build(rows: Sequence[PictureRow[Any]], **options: Any) -> Figure:
    return figure_of(plot_label_maps, rows, **{"class_names": NAMES, **options})


def shown(figure: Figure, index: int) -> np.ndarray:
    return np.asarray(figure.axes[index].images[0].get_array())


def legend(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.legends[0].get_texts()]


def test_writes_a_png_of_readme_width(tmp_path: Path) -> None:
    label = np.zeros((48, 64), dtype=int)
    rows = [row(label, teacher=label, alone=label, distilled=label)] * 2
    plot_label_maps(rows, tmp_path / "new" / "p.png", class_names=NAMES)
    check_page(tmp_path / "new" / "p.png", 500, 1500)


def test_columns_follow_the_order_of_the_predictions() -> None:
    """Swapped columns would credit the student with the teacher's map."""
    figure = build([row([[0]], teacher=[[1]], distilled=[[2]]), row([[0]], teacher=[[3]], distilled=[[1]])])
    assert [axes.get_title() for axes in figure.axes[:4]] == ["image", "label", "teacher", "distilled"]
    colours = class_palette(4)
    for index, class_id in [(1, 0), (2, 1), (3, 2), (6, 3), (7, 1)]:
        np.testing.assert_equal(shown(figure, index), colours[[[class_id]]])


def test_tensors_are_drawn_as_arrays_are() -> None:
    figure = build([PictureRow(torch.full((1, 1, 3), 0.2), [[0]], {"distilled": torch.tensor([[0]])})])
    np.testing.assert_equal(shown(figure, 0), np.full((1, 1, 3), 51))


def test_the_legend_holds_the_classes_that_occur_and_no_others() -> None:
    """A class only a prediction holds is an error the reader must be able to name."""
    assert legend(build([row([[0, 1]], distilled=[[0, 3]])])) == ["background", "disc", "bar"]


@pytest.mark.parametrize("ignore_index", [255, -100, 2])
def test_ignored_pixels_are_striped_and_in_the_legend(ignore_index: int) -> None:
    """In a class's colour they would look like pixels that count."""
    label = np.full((48, 48), ignore_index)
    label[:, :24] = 1
    prediction = np.ones_like(label)
    figure = build([row(label, distilled=prediction)], ignore_index=ignore_index)
    painted = shown(figure, 1)
    assert np.unique(painted[:, 24:]).tolist() == [0, 150]
    assert (painted[:, :24] == class_palette(4)[1]).all()
    assert (shown(figure, 2) == class_palette(4)[1]).all()
    assert legend(figure) == ["disc", "ignored, not scored"]


def test_the_score_is_the_mean_over_classes_of_the_picture_without_ignored_pixels() -> None:
    """By hand: class 0 has 1 of 2 pixels in common, class 1 has 1 of 2, class 2 only occurs where ignored."""
    figure = build([row([[0, 0, 1, 255]], distilled=[[0, 1, 1, 2]])])
    assert [axes.get_xlabel() for axes in figure.axes] == ["", "", "mean IoU 0.50"]


def test_a_class_only_the_prediction_holds_lowers_the_score() -> None:
    """By hand: class 0 has 3 of 4 pixels, class 3 none of 1: (0.75 + 0) / 2."""
    figure = build([row([[0, 0, 0, 0]], distilled=[[0, 0, 0, 3]])])
    assert figure.axes[2].get_xlabel() in ("mean IoU 0.38", "mean IoU 0.37")


def test_a_picture_without_a_counted_pixel_has_no_score() -> None:
    """0 or 1 would be an invented result."""
    figure = build([row([[255, 255]], distilled=[[0, 1]])])
    assert figure.axes[2].get_xlabel() == "mean IoU n/a (all ignored)"


def test_the_definition_of_the_score_is_in_the_figure() -> None:
    """Picture-wise scores average to something else than a data set's mean IoU."""
    title = build([row([[0]], distilled=[[0]])]).legends[0].get_title().get_text()
    assert title == "mean IoU: on this picture, over the classes in its label or the prediction"


def test_many_long_class_names_stay_inside_the_figure() -> None:
    names = [f"class with a long name {i}" for i in range(40)]
    ids = np.arange(40).reshape(5, 8).repeat(10, 0).repeat(10, 1)
    figure = build([row(ids, distilled=ids)], class_names=names)
    figure.draw_without_rendering()
    box = figure.legends[0].get_window_extent()
    assert box.x0 >= 0
    assert box.x1 <= figure.bbox.x1
    assert box.y0 >= 0
    assert box.y1 < figure.axes[0].get_window_extent().y0


def test_names_are_shown_as_they_are_written() -> None:
    figure = build([row([[0]], **{"a $x$": [[0]]})], class_names=["$sky$ _1"])
    assert not figure.axes[2].title.get_parse_math()
    assert not any(text.get_parse_math() for text in figure.legends[0].get_texts())


def test_the_palette_is_the_same_at_every_length() -> None:
    """A class would change its colour between two figures of one report."""
    longest = class_palette(256)
    assert longest.shape == (256, 3)
    assert longest.dtype == np.uint8
    for n in (1, 7, 8, 150):
        np.testing.assert_equal(class_palette(n), longest[:n])


def test_changing_a_palette_leaves_the_next_one_alone() -> None:
    class_palette(3)[:] = 0
    assert class_palette(3).any()


@pytest.mark.parametrize(("n", "smallest"), [(8, 0.15), (20, 0.14), (50, 0.1), (150, 0.06), (256, 0.045)])
def test_palette_colours_lie_apart(n: int, smallest: float) -> None:
    """In Oklab, where a just visible difference is about 0.02."""
    lab = _oklab(class_palette(n).astype(np.int64))
    distance = np.linalg.norm(lab[:, None] - lab[None], axis=-1) + np.eye(n)
    assert distance.min() > smallest


def test_oklab_agrees_with_published_values() -> None:
    """White, black and sRGB red in Oklab as its author gives them: the whole palette rests on it."""
    lab = _oklab(np.array([[255, 255, 255], [0, 0, 0], [255, 0, 0]]))
    np.testing.assert_allclose(lab, [[1, 0, 0], [0, 0, 0], [0.628, 0.225, 0.126]], atol=1e-3)


def test_no_palette_colour_is_close_to_black_or_white() -> None:
    """Black is what ignored pixels are striped with, white is the page."""
    lightness = _oklab(class_palette(256).astype(np.int64))[:, 0]
    assert lightness.min() > 0.4
    assert lightness.max() < 0.95


@pytest.mark.parametrize("n", [0, 257])
def test_a_palette_of_impossible_length_is_refused(n: int) -> None:
    with pytest.raises(ValueError, match="`n` must lie between 1 and 256"):
        class_palette(n)


MAP = np.array([[0, 1]])


@pytest.mark.parametrize("rows", [[], [row(MAP)], [row(MAP, a=MAP, b=MAP), row(MAP, b=MAP, a=MAP)]])
def test_rows_that_differ_in_their_models_are_refused(rows: list[PictureRow[Any]]) -> None:
    """A column would show two models under one title."""
    with pytest.raises(ValueError, match="`rows` must have predictions of the same models"):
        build(rows)


@pytest.mark.parametrize(
    "image", [np.full((1, 2, 3), -2.0), np.full((1, 2, 3), 128), np.full((1, 2, 3), np.nan)]
)
def test_an_image_out_of_range_is_refused(image: Any) -> None:
    """A normalised image would be drawn as another picture."""
    with pytest.raises(ValueError, match=r"`rows\[1\]\.image` must lie in .* undo the image processor"):
        build([row(MAP, a=MAP), PictureRow(image, MAP, {"a": MAP})])
