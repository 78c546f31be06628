"""What is painted is what the model predicts, on the pixels of the picture."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import PIL.Image
import pytest
import torch
from transformers import PretrainedConfig
from transformers.models.detr.modeling_detr import DetrObjectDetectionOutput

from hf_structkd.cli.endings import ExitCode
from hf_structkd.cli.main import main
from hf_structkd.report import class_palette
from hf_structkd.report.overlays import Overlay, with_legend
from hf_structkd.tasks.uses import use_of

from ..tiny_detectors import tiny_detector
from ..tiny_models import tiny_depth_model, tiny_segmentation_model
from .slips import check_slip

GRAY = np.full((40, 80, 3), 128, np.uint8)
CONFIG = PretrainedConfig(id2label={0: "road", 1: "car", 2: "sky"})


def overlay(task: str, output: Any, **changed: Any) -> Overlay:
    (painted,) = use_of(task, CONFIG).overlays(
        output, {"pixel_values": torch.zeros(1, 3, 8, 8)}, [GRAY], **{"score_threshold": 0.3, **changed}
    )
    return painted


def test_the_colour_of_a_pixel_is_that_of_its_class() -> None:
    logits = torch.zeros(1, 3, 4, 8)
    logits[:, 1, :, :4] = 5
    logits[:, 2, :, 4:] = 5
    painted = overlay("image-segmentation", SimpleNamespace(logits=logits))
    assert painted.picture.shape == GRAY.shape
    left, right = painted.picture[20, 10].astype(int), painted.picture[20, 70].astype(int)
    palette = class_palette(3).astype(int)
    assert np.abs(0.45 * 128 + 0.55 * palette[1] - left).max() <= 1
    assert np.abs(0.45 * 128 + 0.55 * palette[2] - right).max() <= 1
    assert {name for name, _ in painted.legend} == {"car", "sky"}


@pytest.mark.parametrize(("kind", "near"), [("metric", "left"), ("relative", "right")])
def test_what_is_near_is_bright_whatever_the_kind_of_depth(
    kind: str, near: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Inverse depth, which is large where it is near, would show a room inside out."""
    monkeypatch.setattr(CONFIG, "depth_estimation_type", kind, raising=False)
    depth = torch.linspace(1, 5, 8).expand(1, 4, 8)
    painted = overlay("depth-estimation", SimpleNamespace(predicted_depth=depth))
    assert painted.picture.shape == (40, 160, 3)
    assert (painted.picture[:, :80] == GRAY).all()
    light = painted.picture[20, 80:].sum(axis=-1, dtype=int)
    assert ("left" if light[0] > light[-1] else "right") == near
    assert all(("m" in text) == (kind == "metric") or "inverse" in text for text, _ in painted.legend)


def test_a_box_is_drawn_where_it_is_and_only_if_it_is_sure() -> None:
    """In the pixels of what the model was shown, boxes would crowd in a corner of a large photo."""
    logits = torch.full((1, 2, 3), -9.0)
    logits[0, 0, 1], logits[0, 1, 2] = 3.0, -2.0
    boxes = torch.tensor([[[0.5, 0.5, 0.5, 0.5], [0.1, 0.1, 0.1, 0.1]]])
    output = DetrObjectDetectionOutput(logits=logits, pred_boxes=boxes)
    painted = overlay("object-detection", output)
    colour = class_palette(2)[1]
    assert (painted.picture[30, 20] == colour).all()  # lower left corner: 0.75 * 40, 0.25 * 80
    assert [name for name, _ in painted.legend] == ["car"]
    assert (painted.picture[:3, :3] == 128).all()
    nothing = overlay("object-detection", output, score_threshold=0.99)
    assert (nothing.picture == GRAY).all()
    assert nothing.legend[0][0] == "nothing of a score of 0.99"


def test_frames_of_a_video_have_one_even_size_whatever_their_legend() -> None:
    """An encoder refuses a frame of another size, or of an odd one."""
    many = [(f"class {index}", (1, 2, 3)) for index in range(60)]
    frames = [
        with_legend(Overlay(np.zeros((41, 81, 3), np.uint8), legend), of_video=True).shape
        for legend in (many[:1], many)
    ]
    assert frames[0] == frames[1]
    assert not any(side % 2 for side in frames[0][:2])
    tall, low = (with_legend(Overlay(GRAY, legend)).shape[0] for legend in (many, many[:1]))
    assert tall > low > 40


def write_model(folder: Path, task: str) -> None:
    names = {0: "road", 1: "car", 2: "sky"}
    model = {
        "seg": lambda: tiny_segmentation_model("segformer", id2label=names),
        "depth": lambda: tiny_depth_model("glpn"),
        "det": lambda: tiny_detector("rt_detr", id2label=names),
    }[task]()
    model.save_pretrained(folder)


@pytest.mark.parametrize("task", ["seg", "depth", "det"])
def test_images_and_folders_are_painted_in_their_own_size(
    task: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_model(tmp_path / "model", task)
    Path("photos/deep").mkdir(parents=True)
    for path in ("photos/a.png", "photos/deep/b.jpg", "c.png"):
        PIL.Image.fromarray(GRAY).save(path)
    main(
        ["predict", "photos", "c.png", "--model", "model", "--image_size", "64", "64", "--output_dir", "out"]
    )
    painted = {path.relative_to("out").as_posix() for path in Path("out").rglob("*.png")}
    assert painted == {"a.png", "deep/b.png", "c.png"}
    with PIL.Image.open("out/c.png") as image:
        assert image.width == (160 if task == "depth" else 80)
        assert image.height > 40


@pytest.mark.parametrize(
    ("words", "code", "sentence"),
    [
        (["predict", "--model", "x"], ExitCode.USAGE, "no picture is named"),
        (["predict", "a.png"], ExitCode.USAGE, "--model is missing"),
        (["predict", "gone.png", "--model", "x"], ExitCode.FILES, "no file or folder gone.png"),
        (["predict", "a.txt", "--model", "x"], ExitCode.INPUT, "neither an image nor a video"),
        (["predict", "a.png", "b", "--model", "x"], ExitCode.INPUT, "into one file; rename"),
        (["predict", "a.png", "--modle", "x"], ExitCode.USAGE, "did you mean '--model'?"),
    ],
)
def test_a_slip_is_one_sentence(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
    code: ExitCode,
    sentence: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("b").mkdir()
    Path("a.txt").write_text("")
    for path in ("a.png", "b/a.png"):
        PIL.Image.fromarray(GRAY).save(path)
    check_slip(capsys, words, code, sentence)


def test_a_video_is_painted_frame_by_frame(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    av = pytest.importorskip("av")
    monkeypatch.chdir(tmp_path)
    write_model(tmp_path / "model", "seg")
    with av.open("in.mp4", "w") as file:
        stream = file.add_stream("libx264", rate=5)
        stream.width, stream.height, stream.pix_fmt = 80, 40, "yuv420p"
        for _ in range(3):
            file.mux(stream.encode(av.VideoFrame.from_ndarray(GRAY, format="rgb24")))
        file.mux(stream.encode())
    main(["predict", "in.mp4", "--model", "model", "--image_size", "64", "64", "--output_dir", "out"])
    with av.open("out/in.mp4") as file:
        frames = [frame.to_ndarray(format="rgb24") for frame in file.decode(video=0)]
    assert len(frames) == 3
    assert frames[0].shape[1] == 80
