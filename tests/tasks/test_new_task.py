"""A task that the library does not have is one class: surface normals of the embedded scenes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoModelForSemanticSegmentation

from hf_structkd.adversary import ScoreMaps
from hf_structkd.cli.distil import distil
from hf_structkd.cli.script_args import parse_run
from hf_structkd.data import DepthOptions, collate_dense, load_depth_data
from hf_structkd.features import FeatureCapture
from hf_structkd.losses import valid_depth
from hf_structkd.matching import align_to_coarser, resize_map
from hf_structkd.report import Headline, plot_depth_maps
from hf_structkd.tasks import SegmentationTask, Task
from hf_structkd.tasks._dense import captured_pairs
from hf_structkd.tasks._drawing import picture_rows

from ..tiny_models import tiny_segmentation_model


def normals_of(depth: Tensor) -> Tensor:
    """Turn depth maps (B, H, W) into unit normals (B, 3, H, W), in pixels of the image plane."""
    right = nn.functional.pad(depth.diff(dim=2), (0, 1))
    down = nn.functional.pad(depth.diff(dim=1), (0, 0, 0, 1))
    return nn.functional.normalize(torch.stack([-right, -down, torch.full_like(depth, 0.1)], dim=1), dim=1)


class NormalsTask(Task):
    """Unit normals (B, 3, h, w) from a network of three output channels; the labels are depth in metres."""

    name, short_name, options = "surface-normals", "normals", DepthOptions
    auto_model = AutoModelForSemanticSegmentation
    model_classes = frozenset({"SegformerForSemanticSegmentation"})
    score_map_channels = 3
    errors = frozenset({"angle"})
    metric_labels = {"angle": "mean angle in degrees"}  # noqa: RUF012
    headline = Headline("angle", "mean angle in degrees", higher_is_better=False)
    collate = staticmethod(collate_dense)
    image_processor = staticmethod(SegmentationTask.image_processor)
    find_features = staticmethod(FeatureCapture.before_classifier)
    feature_pairs = staticmethod(captured_pairs)
    check_models = staticmethod(lambda student, teacher: None)
    task_options = staticmethod(lambda options: {})
    settings = staticmethod(dict)
    as_student = staticmethod(lambda teacher_output, batch: teacher_output)

    def __init__(self, student: Any, teacher: Any = None) -> None:
        """Match nothing: every normal has three components."""

    @staticmethod
    def load_data(options: DepthOptions, *, normalization: Any, teacher: Any, seed: int) -> Any:
        return load_depth_data(options=options, normalization=normalization, seed=seed)

    def prediction(self, output: Any) -> Tensor:
        return nn.functional.normalize(output.logits, dim=1)

    def check_batch(self, batch: Any) -> None:
        assert batch["labels"].is_floating_point()

    def cosines(self, output: Any, depth: Tensor) -> Tensor:
        predicted = nn.functional.normalize(
            resize_map(self.prediction(output), tuple(depth.shape[-2:])), dim=1
        )
        return (predicted * normals_of(depth)).sum(dim=1)[valid_depth(depth)]

    def task_loss(self, output: Any, batch: Any) -> Tensor:
        return 1 - self.cosines(output, batch["labels"]).mean()

    def _both(self, student: Any, teacher: Any) -> tuple[Tensor, Tensor]:
        return align_to_coarser(self.prediction(student.output), self.prediction(teacher.output))

    def output_loss(self, student: Any, teacher: Any, batch: Any, *, temperature: float) -> Tensor:
        ours, theirs = self._both(student, teacher)
        return (ours - theirs).square().sum(dim=1).mean()

    def score_maps(self, student: Any, teacher: Any, batch: Any) -> ScoreMaps:
        fake, real = self._both(student, teacher)
        return ScoreMaps(real=real, fake=fake, images=batch["pixel_values"])

    def evaluation_statistics(self, output: Any, batch: Any) -> Tensor:
        images = zip(output.logits.split(1), batch["labels"], strict=True)
        cosines = [self.cosines(type(output)(logits=logits), depth[None]) for logits, depth in images]
        return torch.stack([one.clamp(-1, 1).acos().mean().rad2deg() for one in cosines])

    def metric(self) -> MeanAngle:
        return MeanAngle()

    def draw(self, exhibit: Any, folder: Path) -> None:
        maps = {name: self.prediction(output) for name, output in exhibit.outputs.items()}
        plot_depth_maps(picture_rows(exhibit, maps, lambda one: one[2] + 1), folder / "predictions.png")


class MeanAngle(list[Tensor]):
    """The mean of the images' mean angles."""

    def add_statistics(self, statistics: Tensor) -> None:
        self.append(statistics)

    def compute(self) -> dict[str, float]:
        return {"angle": torch.cat(self).mean().item()}


def test_a_new_task_is_distilled_compared_and_carded(tmp_path: Path) -> None:
    """Else a task costs edits in the trainer, the command line, the report or the card."""
    for folder, seed in (("student", 0), ("teacher", 1)):
        tiny_segmentation_model("segformer", num_labels=3, seed=seed).save_pretrained(tmp_path / folder)
    argv = f"""--student_model_name_or_path {tmp_path}/student --output_dir {tmp_path}/out --use_cpu
        --teacher_model_name_or_path {tmp_path}/teacher --image_size 64 64 --max_train_samples 8
        --max_eval_samples 4 --max_steps 2 --compare_baseline --report_to none --logging_steps 1"""
    distil(parse_run(NormalsTask, argv.split(), scenes={}))
    assert 0 < json.loads((tmp_path / "out" / "all_results.json").read_text())["eval_angle"] < 180
    assert (tmp_path / "out" / "figures" / "predictions.png").is_file()
    assert "mean angle in degrees" in (tmp_path / "out" / "README.md").read_text()
