"""A file of operations (ONNX, TorchScript, torch.export) teaches, and says in one sentence what it cannot."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from hf_structkd import StructKDTrainer
from hf_structkd.models import TeacherSource, load_exported, wrap_model
from hf_structkd.models.wrapped_module import image_processor_of
from hf_structkd.tasks import DepthTask, SegmentationTask
from tests import cases

# TorchScript is deprecated, and what people have exported with it is not gone.
pytestmark = [
    pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:.*torch.jit:FutureWarning"),
]

NAMES = {index: f"LABEL_{index}" for index in range(cases.NUM_LABELS)}
OFF = {"pairwise_weight": 0.0}
Writer = Callable[..., Path]


def network() -> nn.Conv2d:
    """A whole teacher in one layer."""
    torch.manual_seed(5)
    return nn.Conv2d(3, cases.NUM_LABELS, 4, stride=4).eval()


def write_onnx(
    folder: Path, shape: tuple[Any, ...] = ("batch", 3, "height", "width"), names: str = str(NAMES)
) -> Path:
    onnx = pytest.importorskip("onnx", reason="onnx, which writes the file, is not installed")
    pytest.importorskip("onnxruntime", reason="onnxruntime, which runs the file, is not installed")
    helper, kind = onnx.helper, onnx.TensorProto.FLOAT
    weights = {"w": network().weight.detach().numpy(), "b": network().bias.detach().numpy()}
    graph = helper.make_graph(
        [helper.make_node("Conv", ["images", "w", "b"], ["maps"], strides=[4, 4])],
        "teacher",
        [helper.make_tensor_value_info("images", kind, shape)],
        [helper.make_tensor_value_info("maps", kind, (shape[0], cases.NUM_LABELS, "h", "w"))],
        [onnx.numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    helper.set_model_props(model, {"names": names})
    onnx.save(model, folder / "teacher.onnx")
    return folder / "teacher.onnx"


def write_script(folder: Path) -> Path:
    torch.jit.trace(network(), torch.rand(1, 3, 64, 64)).save(folder / "teacher.pt")
    (folder / "id2label.json").write_text(json.dumps(NAMES))
    return folder / "teacher.pt"


def write_program(folder: Path, *, batch: int = 3) -> Path:
    """A program of a fixed batch, as it is exported where nobody asks for another."""
    torch.export.save(torch.export.export(network(), (torch.rand(batch, 3, 64, 64),)), folder / "teacher.pt2")
    (folder / "config.json").write_text(json.dumps({"id2label": NAMES}))
    return folder / "teacher.pt2"


WRITERS = [write_onnx, write_script, write_program]


@pytest.mark.parametrize("write", WRITERS)
def test_a_file_teaches_what_the_network_in_it_knows(write: Writer, tmp_path: Path) -> None:
    """The program takes three images at once and is shown four: the last two of its calls are filled up."""
    trainer = cases.make_trainer(
        cases.SEGMENTATION,
        cases.arguments(tmp_path / "run", max_steps=1, **OFF),
        teacher=str(write(tmp_path)),
    )
    images = torch.randn(4, 3, 64, 64)
    assert trainer.teacher is not None
    with torch.no_grad():
        torch.testing.assert_close(
            trainer.teacher({"pixel_values": images}).output.logits, network()(images), atol=1e-5, rtol=1e-4
        )
    trainer.train()
    assert trainer.state.log_history[0]["loss_pixel"] > 0
    assert trainer.evaluate_teacher()["mean_iou"] > 0


def test_the_answers_of_a_file_are_stored_for_another_run(tmp_path: Path) -> None:
    """A file is run most slowly of all teachers."""
    path, losses = str(write_script(tmp_path)), []
    for run in ("first", "second"):
        cache = {"teacher_cache": str(tmp_path / "cache"), "teacher_cache_dtype": "float32"}
        args = cases.arguments(tmp_path / run, max_steps=1, **OFF, **cache, holistic_weight=0.0)
        trainer = cases.make_trainer(cases.SEGMENTATION, args, teacher=path)
        trainer.train()
        losses.append(trainer.state.log_history[0]["loss"])
    assert losses[0] == losses[1]
    assert len([*(tmp_path / "cache").iterdir()]) == 1


def test_terms_on_features_are_refused_by_their_weights(tmp_path: Path) -> None:
    """The default has one, and a file has no modules to look into."""
    args = cases.arguments(tmp_path / "run", mimic_weight=1.0)
    with pytest.raises(
        ValueError,
        match=r"`pairwise_weight` and `mimic_weight` must be 0 with the `teacher_model` .*; set them",
    ):
        cases.make_trainer(cases.SEGMENTATION, args, teacher=str(write_script(tmp_path)))


def test_a_size_that_was_fixed_is_named(tmp_path: Path) -> None:
    path = write_onnx(tmp_path, (1, 3, 32, 48))
    args = cases.arguments(tmp_path / "run", **OFF)
    trainer = cases.make_trainer(cases.SEGMENTATION, args, teacher=str(path))
    with pytest.raises(
        ValueError,
        match=r"refused images of 64 × 64 \(it was exported for images of 32 × 48\); set `teacher_im",
    ):
        trainer.train()
    args = cases.arguments(tmp_path / "run", max_steps=1, teacher_image_size=[32, 48], **OFF)
    cases.make_trainer(cases.SEGMENTATION, args, teacher=str(path)).train()


def test_another_precision_of_an_onnx_file_is_refused(tmp_path: Path) -> None:
    args = cases.arguments(tmp_path / "run", teacher_dtype="bfloat16", **OFF)
    trainer = cases.make_trainer(cases.SEGMENTATION, args, teacher=str(write_onnx(tmp_path)))
    with pytest.raises(TypeError, match="`teacher_dtype` must be left out for an ONNX file"):
        trainer.train()


def test_a_file_that_names_no_classes_or_is_none_is_refused(tmp_path: Path) -> None:
    """Classes are matched by their names: without them the student would learn nothing of it."""
    path = write_script(tmp_path)
    (tmp_path / "id2label.json").unlink()
    with pytest.raises(
        ValueError, match=r'must name its classes, and .* write \{"0": "sky", \.\.\.\} to .*json'
    ):
        TeacherSource(path, SegmentationTask)
    with pytest.raises(ValueError, match=r"`read` must return depth"):
        TeacherSource(path, DepthTask)
    for name in ("state.pt", "program.pt2"):
        torch.save(network().state_dict(), tmp_path / name)
        with pytest.raises(ValueError, match=rf"`teacher_model` .*{name} is no .* file that can be read"):
            TeacherSource(tmp_path / name, SegmentationTask)


def test_metadata_that_name_no_classes_are_refused(tmp_path: Path) -> None:
    with pytest.raises(
        ValueError, match=r"`names` in the metadata of an ONNX file must map .*, got 'road; car'"
    ):
        TeacherSource(write_onnx(tmp_path, names="road; car"), SegmentationTask)


def test_a_file_is_refused_as_a_student(tmp_path: Path) -> None:
    """Its weights are constants, and what is saved of a student is a folder."""
    with pytest.raises(
        ValueError, match=r"teacher\.pt is a file of operations, which can teach and not learn"
    ):
        StructKDTrainer(str(write_script(tmp_path)), None, cases.arguments(tmp_path / "run", **cases.ALONE))


def test_what_structkd_export_writes_beside_its_file_is_read(tmp_path: Path) -> None:
    """A student that was exported is the teacher of the next one, with its classes and its colours."""
    path = write_script(tmp_path)
    (tmp_path / "id2label.json").unlink()
    colours = {
        "colours": "RGB, 8 bits a channel",
        "rescale_factor": 1 / 255,
        "mean": [0.1] * 3,
        "std": [0.2] * 3,
    }
    pre_processing = {**colours, "resize": {"height": 64, "width": 64}}
    (tmp_path / "model.json").write_text(json.dumps({"classes": NAMES, "pre_processing": pre_processing}))
    config = TeacherSource(path, SegmentationTask).config
    assert config.id2label == NAMES
    processor = image_processor_of(config)
    assert [*processor.image_mean, *processor.image_std] == [0.1] * 3 + [0.2] * 3


def test_a_missing_onnxruntime_is_named_with_the_extra_that_brings_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    (tmp_path / "teacher.onnx").write_bytes(b"")
    with pytest.raises(ImportError, match=r'needs onnxruntime, .* `pip install "hf_structkd\[onnx\]"`'):
        load_exported(tmp_path / "teacher.onnx")


def test_two_files_are_two_teachers_for_a_cache(tmp_path: Path) -> None:
    """An ONNX file has no tensors to compare: a cache would give one's answers for the other's."""
    sources = []
    for side in (32, 64):
        (tmp_path / str(side)).mkdir()
        path = write_onnx(tmp_path / str(side), ("batch", 3, side, side))
        sources.append(TeacherSource(path, SegmentationTask))
    assert sources[0].fingerprint != sources[1].fingerprint
    assert sources[0].description != sources[1].description


def test_a_file_is_wrapped_with_a_reader_of_ones_own(tmp_path: Path) -> None:
    def read(output: Tensor) -> Tensor:
        return output[:, :2]

    model = wrap_model(
        load_exported(write_script(tmp_path)),
        task="segmentation",
        id2label={0: "a", 1: "b"},
        read=read,
        mean=(0, 0, 0),
        std=(1, 1, 1),
        image_size=(64, 64),
    )
    assert model(torch.rand(2, 3, 64, 64)).logits.shape == (2, 2, 16, 16)
