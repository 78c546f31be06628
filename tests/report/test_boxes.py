"""The picture of detections shows every box where it belongs, and says what it leaves out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.transforms import Bbox

from hf_structkd.report import Boxes, PictureRow, class_palette, plot_boxes
from hf_structkd.report._boxes import BoxStyle, box_styles

from .figures import check_page, figure_of

NAMES = ["apple", "banana", "orange", "pear"]
GREY = 128
BLUE, ORANGE = (tuple(rgb) for rgb in class_palette(2).tolist())
NOTHING = Boxes(np.zeros((0, 4)), [])
NOTHING_FOUND = replace(NOTHING, scores=[])
CORNERS = [[10.0, 20.0, 50.0, 40.0]]


def row(truth: Boxes = NOTHING, size: tuple[int, int] = (60, 80), **predictions: Boxes) -> PictureRow[Boxes]:
    return PictureRow(np.full((*size, 3), GREY / 255), truth, predictions or {"a": NOTHING_FOUND})


def found(corners: Any, labels: Any = (0,), scores: Any = (0.87,)) -> Boxes:
    return Boxes(np.array(corners, dtype=float), np.array(labels), np.array(scores, dtype=float))


def build(rows: Sequence[PictureRow[Boxes]], **options: Any) -> Figure:
    return figure_of(plot_boxes, rows, **{"class_names": NAMES, "score_threshold": 0.5, **options})


def random_boxes(n: int, size: tuple[int, int], seed: int = 0) -> Boxes:
    rng = np.random.default_rng(seed)
    corners = np.sort(rng.random((n, 2, 2)), axis=1).reshape(n, 4) * np.tile(size[::-1], 2)
    return found(corners, rng.integers(0, len(NAMES), n), rng.uniform(0.5, 1, n))


def bounds(axes: Axes) -> list[list[float]]:
    """The drawn boxes in the order of drawing, as corners in the picture's pixels."""
    drawn = []
    for patch in axes.patches:
        box = patch.get_path().get_extents(patch.get_patch_transform())
        drawn.append([box.x0 + 0.5, box.y0 + 0.5, box.x1 + 0.5, box.y1 + 0.5])
    return drawn


def labels(axes: Axes) -> list[str]:
    return [text.get_text() for text in axes.texts]


def captions(figure: Figure) -> list[str]:
    return [axes.get_xlabel() for axes in figure.axes]


def legend(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.legends[0].get_texts()]


def painted(figure: Figure) -> np.ndarray:
    canvas = figure.canvas
    assert isinstance(canvas, FigureCanvasAgg)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3]


def pixel(page: np.ndarray, axes: Axes, x: float, y: float) -> tuple[int, ...]:
    """The colour on the page at a point of the picture, (0, 0) being its upper left corner."""
    across, up = axes.transData.transform((x - 0.5, y - 0.5))
    return tuple(int(value) for value in page[page.shape[0] - 1 - int(up), int(across)])


def label_areas(axes: Axes) -> list[Bbox]:
    areas = []
    canvas = axes.figure.canvas
    assert isinstance(canvas, FigureCanvasAgg)
    renderer = canvas.get_renderer()
    for text in axes.texts:
        patch = text.get_bbox_patch()
        assert patch is not None
        text.update_bbox_position_size(renderer)
        areas.append(patch.get_window_extent())
    return areas


def test_writes_a_png_of_readme_width(tmp_path: Path) -> None:
    rows = [row(teacher=random_boxes(5, (60, 80)), alone=NOTHING_FOUND, distilled=NOTHING_FOUND)] * 2
    plot_boxes(rows, tmp_path / "new" / "p.png", class_names=NAMES)
    check_page(tmp_path / "new" / "p.png", 500, 1500)


def test_columns_follow_the_order_of_the_predictions() -> None:
    """Swapped columns would credit the student with the teacher's boxes."""
    first = row(Boxes(CORNERS, [0]), teacher=found(CORNERS, [1]), distilled=found(CORNERS, [2]))
    second = row(Boxes(CORNERS, [3]), teacher=found(CORNERS, [2]), distilled=found(CORNERS, [1]))
    figure = build([first, second])
    assert [axes.get_title() for axes in figure.axes[:3]] == ["ground truth", "teacher", "distilled"]
    assert [labels(axes) for axes in figure.axes] == [
        ["apple"],
        ["banana 0.87"],
        ["orange 0.87"],
        ["pear"],
        ["orange 0.87"],
        ["banana 0.87"],
    ]


def test_a_box_is_painted_where_it_belongs_and_nowhere_else() -> None:
    """Half a pixel or a swapped axis would show a good box as a bad one."""
    figure = build([row(Boxes([[10, 24, 50, 40]], [0]))])
    page, axes = painted(figure), figure.axes[0]
    for x, y in [(10, 32), (50, 32), (30, 24), (30, 40)]:
        assert pixel(page, axes, x, y) == BLUE
    for x, y in [(8, 32), (12, 32), (48, 32), (52, 32), (30, 26), (30, 38), (30, 42)]:
        assert pixel(page, axes, x, y) == (GREY, GREY, GREY)


def test_a_dashed_box_is_closed_by_a_dark_line() -> None:
    """Gaps on a picture of the same colour would leave pieces of a box."""
    figure = build([row(Boxes([[10, 24, 50, 40], [10, 50, 50, 55]], [0, 1]))])
    page, axes = painted(figure), figure.axes[0]
    along = {pixel(page, axes, x, 55) for x in np.arange(12, 48, 0.2)}
    assert {ORANGE, (0, 0, 0)} <= along
    assert (GREY, GREY, GREY) not in along


def test_boxes_are_cut_at_the_edges_of_the_picture() -> None:
    """A box drawn over the neighbouring column would look like the other model's."""
    figure = build([row(Boxes([[-30, 20, 90, 70]], [0]))])
    np.testing.assert_allclose(bounds(figure.axes[0]), [[0, 20, 80, 60]])


def test_only_detections_of_at_least_the_threshold_are_drawn() -> None:
    boxes = found(CORNERS * 3, [0, 1, 2], [0.3, 0.29, 0.6])
    figure = build([row(a=boxes)], score_threshold=0.3)
    assert sorted(labels(figure.axes[1])) == ["apple 0.30", "orange 0.60"]
    assert len(bounds(figure.axes[1])) == 2
    assert legend(figure) == ["apple", "orange"]


def test_the_surest_detection_is_drawn_last_so_that_it_lies_on_top() -> None:
    corners = [[1, 1, 9, 9], [2, 2, 9, 9], [3, 3, 9, 9]]
    figure = build([row(a=found(corners, [0, 0, 0], [0.7, 0.9, 0.8]))])
    assert [box[0] for box in bounds(figure.axes[1])] == pytest.approx([1, 3, 2])


@pytest.mark.parametrize(
    ("scores", "caption"),
    [
        ([0.9, 0.5, 0.1], "2 detections ≥ 0.5"),
        ([0.9, 0.2, 0.1], "1 detection ≥ 0.5"),
        ([0.25, 0.2, 0.1], "none ≥ 0.5, highest 0.25"),
        ([0.4999, 0.2, 0.1], "none ≥ 0.5, highest 0.49"),
        ([], "no detections"),
    ],
)
def test_the_caption_counts_what_is_drawn_or_says_why_nothing_is(scores: list[float], caption: str) -> None:
    """An empty picture means a silent model or a high threshold; 0.4999 must not read as the threshold."""
    boxes = found(CORNERS * len(scores), [0] * len(scores), scores) if scores else NOTHING_FOUND
    assert captions(build([row(a=boxes)]))[1] == caption


@pytest.mark.parametrize(("n", "caption"), [(0, "no objects"), (1, "1 object"), (2, "2 objects")])
def test_the_caption_of_the_ground_truth_counts_its_objects(n: int, caption: str) -> None:
    truth = Boxes(np.reshape(CORNERS * n, (n, 4)), np.zeros(n, dtype=int))
    assert captions(build([row(truth)]))[0] == caption


def test_the_threshold_is_in_the_figure() -> None:
    title = build([row()], score_threshold=0.05).legends[0].get_title().get_text()
    assert "Drawn are detections with a score of at least 0.05." in title


def test_pictures_without_any_box_are_drawn() -> None:
    figure = build([row(), row()])
    assert legend(figure) == []
    assert captions(figure) == ["no objects", "no detections"] * 2
    assert pixel(painted(figure), figure.axes[0], 40, 30) == (GREY, GREY, GREY)


def test_the_legend_holds_the_classes_that_are_drawn_and_no_others() -> None:
    """A class only a model draws is an error the reader must be able to name."""
    assert legend(build([row(Boxes(CORNERS, [3]), a=found(CORNERS, [1]))])) == ["banana", "pear"]


@pytest.mark.parametrize("n", [30, 150])
def test_labels_of_many_boxes_never_overlap_and_stay_on_their_picture(n: int) -> None:
    """Labels over labels are read as none."""
    truth = replace(random_boxes(n, (60, 80)), scores=None)
    figure = build([row(truth, a=random_boxes(n, (60, 80), seed=1))])
    for axes in figure.axes:
        assert len(bounds(axes)) == n
        areas, frame = label_areas(axes), axes.get_window_extent().padded(0.5)
        assert len(areas) > 10
        for one, other in combinations([area.padded(-0.5) for area in areas], 2):
            assert not one.overlaps(other)
        for area in areas:
            assert frame.containsx(area.x0)
            assert frame.containsx(area.x1)
            assert frame.containsy(area.y0)
            assert frame.containsy(area.y1)


def test_a_label_touches_its_own_box() -> None:
    """A label that drifts away names the neighbour."""
    scores = np.linspace(0.99, 0.5, 40)
    boxes = replace(random_boxes(40, (60, 80)), scores=scores)
    axes = build([row(a=boxes)]).axes[1]
    assert len(axes.texts) > 10
    corners = {f"{score:.2f}": box for score, box in zip(scores, np.asarray(boxes.corners), strict=True)}
    for text, area in zip(axes.texts, label_areas(axes), strict=True):
        ends = axes.transData.transform(corners[text.get_text().split()[-1]].reshape(2, 2) - 0.5)
        on_page = Bbox([ends.min(axis=0), ends.max(axis=0)])
        assert on_page.padded(4).overlaps(area)


def test_the_surest_detection_has_the_first_choice_of_place() -> None:
    """Two boxes in one place: the less sure labels give way, whatever the order they came in."""
    axes = build([row(a=found([[2, 30, 78, 50]] * 2, [1, 0], [0.6, 0.9]))]).axes[1]
    assert labels(axes) == ["apple 0.90", "banana 0.60"]
    sure, unsure = label_areas(axes)
    assert sure.x0 == pytest.approx(axes.transData.transform((1.5, 0))[0], abs=1)
    assert unsure.x0 > sure.x1


def test_a_label_without_room_is_cut_to_its_score_and_then_left_out() -> None:
    """The box stays; its class is in the legend."""
    names = ["a class name"]
    many = {f"m{i}": NOTHING_FOUND for i in range(9)}
    boxes = found([[0, 0, 80, 20]] * 40, [0] * 40, np.linspace(0.5, 0.9, 40))
    figure = build([row(size=(20, 80), a=boxes, **many)], class_names=names)
    axes = figure.axes[1]
    assert len(bounds(axes)) == 40
    assert 0 < len(labels(axes)) < 40
    assert labels(axes)[0] == "0.90"


def test_long_class_names_are_cut_in_labels_and_whole_in_the_legend() -> None:
    names = [f"a class of the very longest kind, number {i}" for i in range(40)]
    rng = np.random.default_rng(0)
    truth = Boxes(np.tile(CORNERS, (40, 1)) + rng.uniform(-9, 9, (40, 1)), np.arange(40))
    figure = build([row(truth, a=found(CORNERS))], class_names=names)
    assert labels(figure.axes[1]) == ["a class of the… 0.87"]
    assert legend(figure) == names
    box = figure.legends[0].get_window_extent()
    assert box.x0 >= 0
    assert box.x1 <= figure.bbox.x1
    assert box.y0 >= 0
    assert box.y1 < figure.axes[0].get_window_extent().y0


def test_names_are_shown_as_they_are_written() -> None:
    figure = build([row(Boxes(CORNERS, [0]), **{"a $x$": NOTHING_FOUND})], class_names=["$sky$ _1"])
    texts = [figure.axes[1].title, *figure.axes[0].texts, *figure.legends[0].get_texts()]
    assert not any(text.get_parse_math() for text in texts)


def test_drawing_the_boxes_leaves_the_layout_as_the_labels_were_placed_in() -> None:
    """Pictures that move or grow afterwards would leave the labels behind."""
    plain = build([row()])
    crowded = build([row(a=found([[-9, -9, 99, 99]], [0]))], class_names=[""])
    sizes = [figure.axes[1].get_window_extent().size for figure in (plain, crowded)]
    np.testing.assert_allclose(sizes[0], sizes[1], atol=1)
    before = crowded.axes[1].get_window_extent().bounds
    crowded.draw_without_rendering()
    np.testing.assert_allclose(crowded.axes[1].get_window_extent().bounds, before)


def test_the_first_six_classes_differ_without_colour() -> None:
    """In print, and to many readers, blue and orange are two greys."""
    styles = box_styles({2, 5, 11, 17, 23, 42}, [f"class {i}" for i in range(43)])
    assert list(styles) == [2, 5, 11, 17, 23, 42]
    assert len({style.dashes for style in styles.values()}) == 6


def test_a_hundred_classes_look_different() -> None:
    styles = box_styles(range(100), [str(i) for i in range(100)])
    assert len({(style.colour, style.dashes) for style in styles.values()}) == 100


def test_label_text_contrasts_with_every_class_colour() -> None:
    """At least 4.5 to 1, which WCAG 2 asks of text; computed here from its definition."""
    for rgb in class_palette(25).tolist():
        text = BoxStyle("", tuple(value / 255 for value in rgb), ()).text_colour
        linear = [v / 255 / 12.92 if v / 255 <= 0.04045 else ((v / 255 + 0.055) / 1.055) ** 2.4 for v in rgb]
        luminance = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
        contrast = (luminance + 0.05) / 0.05 if text == "black" else 1.05 / (luminance + 0.05)
        assert contrast > 4.5


def test_tensors_are_drawn_as_arrays_are() -> None:
    boxes = Boxes(torch.tensor(CORNERS), torch.tensor([0]), torch.tensor([0.87]))
    image = torch.full((60, 80, 3), GREY / 255)
    figure = build([PictureRow(image, Boxes(torch.zeros(0, 4), torch.zeros(0)), {"a": boxes})])
    assert bounds(figure.axes[1]) == pytest.approx(np.array(CORNERS))
    assert labels(figure.axes[1]) == ["apple 0.87"]
