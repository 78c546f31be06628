"""The page in a real browser: the slider, the order, the curves, both widths, and no word on the console."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cases import DEPTH, SEGMENTATION, TaskCase, arguments, make_trainer

from .chromium import Chromium, find_chromium

PROGRAM = find_chromium()
pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(PROGRAM is None, reason="no Chromium on the PATH or in STRUCTKD_CHROMIUM"),
]
SHOWN = (
    "[...document.querySelectorAll('.card')].map(c => c.querySelector('.layer:not([hidden])').dataset.title)"
)
PLACES = "[...document.querySelectorAll('.card')].map(c => Number(c.dataset.place))"
GAINS = "[...document.querySelectorAll('.card')].map(c => Number(c.dataset.gain))"


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return page_of(SEGMENTATION, tmp_path_factory.mktemp("page"))


@pytest.fixture(scope="module")
def depth_page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return page_of(DEPTH, tmp_path_factory.mktemp("depth"))


def page_of(case: TaskCase, folder: Path) -> Path:
    """The page of a distilled student and the same student alone."""
    runs = []
    for name in ("alone", "distilled"):
        args = arguments(folder / name, report_to="none", max_steps=2, logging_steps=1, eval_strategy="steps")
        runs.append(make_trainer(case, args, eval_dataset=case.rows(14)))
        runs[-1].train()
    path: Path = runs[1].show(alone=runs[0]).path
    return path


@pytest.fixture
def chromium(tmp_path: Path) -> Iterator[Chromium]:
    assert PROGRAM is not None
    browser = Chromium(PROGRAM, tmp_path)
    yield browser
    browser.close()
    assert browser.console == []


@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("name", ["page", "depth_page"])
def test_the_page_fits_a_phone_and_a_desktop(
    chromium: Chromium, request: pytest.FixtureRequest, name: str, width: int
) -> None:
    chromium.open(request.getfixturevalue(name), width)
    assert chromium.run("document.documentElement.scrollWidth") <= width
    inside = "[...document.querySelectorAll('main *')].filter(e => !e.closest('pre'))"
    wide = f"{inside}.filter(e => e.getBoundingClientRect().right > innerWidth + 1)"
    assert chromium.run(f"{wide}.map(e => e.outerHTML.slice(0, 80))") == []


@pytest.mark.parametrize("width", [390, 800])
def test_a_table_of_many_evaluation_sets_scrolls_and_not_the_page(
    chromium: Chromium, tmp_path: Path, width: int
) -> None:
    """A page that moves sideways as a whole hides its right edge from a reader on a phone."""
    sets = {f"validation_of_the_city_{i}": SEGMENTATION.rows(2) for i in range(8)}
    trainer = make_trainer(SEGMENTATION, arguments(tmp_path, report_to="none"), eval_dataset=sets)
    trainer.state.log_history = [{"step": 1, f"eval_{next(iter(sets))}_mean_iou": 0.5}]
    chromium.open(trainer.show().path, width)
    assert chromium.run("document.documentElement.scrollWidth") <= width
    box = "document.querySelector('#comparison .scroll')"
    assert chromium.run(f"{box}.getBoundingClientRect().right") <= width
    assert chromium.run(f"{box}.scrollWidth > {box}.clientWidth") is (width == 800)  # a phone has cards


def test_the_arrow_keys_move_one_picture_and_the_slider_above_moves_all(
    chromium: Chromium, page: Path
) -> None:
    chromium.open(page, 1280)
    assert chromium.run(SHOWN) == ["distilled"] * 12
    chromium.run("document.querySelector('.slider').focus()")
    chromium.press("ArrowLeft")
    assert chromium.run(SHOWN) == ["alone"] + ["distilled"] * 11
    assert chromium.run("document.querySelector('.slider').getAttribute('aria-valuetext')") == "alone"
    chromium.run("document.querySelectorAll('.card')[1].querySelector('.stops button').click()")
    assert chromium.run(SHOWN)[:3] == ["alone", "image", "distilled"]
    chromium.run("document.getElementById('all').focus()")
    for _ in range(3):
        chromium.press("ArrowLeft")
    assert chromium.run(SHOWN) == ["label"] * 12


def test_the_error_below_a_depth_moves_with_it(chromium: Chromium, depth_page: Path) -> None:
    """The error of another model below a prediction would be believed."""
    chromium.open(depth_page, 1280)
    shown = "[...document.querySelectorAll('.error:not([hidden])')].map(e => e.innerText)"
    assert chromium.run(shown) == ["error of distilled"] * 12
    chromium.run("document.querySelector('.slider').focus()")
    for expected in ("error of alone", "error of teacher", "Here stands the error of a prediction."):
        chromium.press("ArrowLeft")
        assert chromium.run(shown) == [expected] + ["error of distilled"] * 11
    painted = "document.querySelectorAll('.error:not([hidden]) img')[0].naturalWidth"
    assert chromium.run(painted) == 64


def test_the_pictures_are_put_in_the_chosen_order(chromium: Chromium, page: Path) -> None:
    chromium.open(page, 1280)
    gains = chromium.run(GAINS)
    assert gains == sorted(gains, reverse=True)
    choose = "document.getElementById('order').value = '{}'; order.dispatchEvent(new Event('change'))"
    chromium.run(choose.format("-gain"))
    assert chromium.run(GAINS) == sorted(gains)
    chromium.run(choose.format("-place"))
    assert chromium.run(PLACES) == sorted(chromium.run(PLACES))


def test_a_curve_is_read_by_pointer_and_by_key(chromium: Chromium, page: Path) -> None:
    chromium.open(page, 1280, 5000)
    x, y = chromium.run(
        "(() => { const b = document.querySelector('.panel svg').getBoundingClientRect();"
        " return [b.right - 15, b.top + 50]; })()"
    )
    chromium.move(x, y)
    text = "document.querySelector('.reading').innerText"
    assert chromium.run(text).splitlines()[0] == "step 2"
    chromium.run("document.querySelector('.panel').focus()")
    chromium.press("ArrowLeft")
    lines = chromium.run(text).splitlines()
    assert [line.split()[0] for line in lines] == ["step", "distilled", "alone", "teacher"]
    assert lines[0] == "step 1"
