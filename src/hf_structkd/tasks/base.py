"""What a dense-prediction task must say so that the trainer need not know its name."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, NamedTuple

from torch import Tensor, nn
from transformers import PretrainedConfig, PreTrainedModel

from ..adversary.score_maps import ScoreMaps
from ..data import DataOptions, LoadedData, Normalization
from ..features import FeatureCapture, LevelsCapture, unwrap
from ..features.forward import Batch, Capture, Forward, run_model
from ..matching.label_spaces import LabelMatch
from ..models.teacher_forms import TeacherForm
from ._shown import ShownTask


class MapPair(NamedTuple):
    """Two maps on one grid, (B, C_s, h, w) and (B, C_t, h, w), and which pixels count, (B, h, w) or None.

    Where the teacher's side is nodes that were stored, `node_sums` is what was stored with them.
    """

    student: Tensor
    teacher: Tensor
    mask: Tensor | None
    node_sums: Tensor | None = None


def classes_of(names: Mapping[str, Any], own: str) -> frozenset[str]:
    """Return the classes of a mapping of `transformers`, and the one around networks of other kinds."""
    return frozenset(names.values()) | {own}


class Task(ShownTask):
    """A task's meaning, built once for a student and, when one teaches it, a teacher.

    Attributes:
        name: Pipeline tag of the task on the Hub, for example "image-segmentation".
        auto_model: The `transformers` auto class that loads its models.
        model_classes: Names of the model classes that solve this task.
        teacher_forms: Further kinds of models that can teach it.
        refused_teachers: Names of classes that look like teachers, to the reason why they are none.
        short_name: Name of the task on a command line, for example "segmentation".
        options: Dataclass of all that can be chosen, of the data and of the task.
        score_map_channels: Channels of the maps that `score_maps` returns.
        has_logit_maps: Whether the outputs are maps of class logits, which `logit_maps` returns.
        labels: How the classes of the two models are matched; None where there are none, or no teacher.
        learns_from_labels: Whether the training data have labels, see `without_labels`.
        makes_labels: Whether the teacher's answers stand in for missing labels, see `filled_in`.
        answer_class: The class of a teacher's output that is made again from stored tensors.
        score_maps_are_bounded: Whether their values are bounded, as probabilities are.
        loss_scale: About how large the supervised loss is, a cross-entropy being 1; default weights of terms
            that compare features, whose size no task changes, follow it.
        errors: Names of the metrics that are better when they are lower.
        metric_labels: Name of a metric, as `metric()` has it, to its name for people.
        class_metric_labels: Beginning of the name of a metric of one class, whose rest is the class, to the
            metric's name for people.
        headline: The metric that a model is judged by, and the further ones of a run's table.
        range_label: What the ranges of `range_errors` are of, for people, for example "true depth in metres".
        usage: Lines of Python for the card that use the pipeline's answer, `predictor(image)`; empty prints
            it.
    """

    name: ClassVar[str]
    auto_model: ClassVar[Any]
    model_classes: ClassVar[frozenset[str]]
    teacher_forms: ClassVar[Sequence[TeacherForm]] = ()
    refused_teachers: ClassVar[Mapping[str, str]] = {}
    score_map_channels: int
    has_logit_maps: ClassVar[bool] = False
    labels: LabelMatch | None = None
    learns_from_labels = True
    makes_labels = False
    answer_class: ClassVar[Any]
    score_maps_are_bounded: ClassVar[bool] = True
    loss_scale: ClassVar[float] = 1.0
    errors: ClassVar[frozenset[str]] = frozenset()
    metric_labels: ClassVar[Mapping[str, str]] = {}
    class_metric_labels: ClassVar[Mapping[str, str]] = {}
    usage: ClassVar[str] = ""
    short_name: ClassVar[str]
    options: ClassVar[type[DataOptions]]

    # The options below are of the class that `options` names; each task says so in its own signature.
    @staticmethod
    @abstractmethod
    def load_data(
        options: Any, *, normalization: Normalization, teacher: PretrainedConfig | None, seed: int
    ) -> LoadedData:
        """Load the data that the options describe; where these name no classes, the teacher does.

        Args:
            options: An object of the class `options`.
            normalization: Turns colours into the student's inputs.
            teacher: The teacher's configuration, or None.
            seed: The seed of the augmentation and of a stream's order.
        """

    @staticmethod
    @abstractmethod
    def task_options(options: Any) -> dict[str, Any]:
        """Return the keyword arguments of the task that the options describe."""

    @abstractmethod
    def __init__(self, student: PretrainedConfig, teacher: PretrainedConfig | None, **options: Any) -> None:
        """Read what the two configurations say; raise `ValueError` if the two cannot be compared.

        A task names its own options; the trainer hands them through.
        """

    @staticmethod
    @abstractmethod
    def check_models(student: PreTrainedModel, teacher: PreTrainedModel | None) -> None:
        """Raise `ValueError` where a model of the task cannot be trained or cannot teach."""

    @staticmethod
    @abstractmethod
    def collate(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
        """Turn dataset rows into a batch."""

    @staticmethod
    @abstractmethod
    def image_processor(size: tuple[int, int], config: PretrainedConfig) -> Any:
        """Make an image processor for a student that has none: images of `size`, ImageNet's normalisation.

        Its post-processing must fit the model that `config` describes.
        """

    @staticmethod
    @abstractmethod
    def find_features(model: nn.Module, pixel_values: Tensor) -> Capture:
        """Capture the feature maps that are compared, found on these images."""

    def capture_features(self, model: nn.Module, pixel_values: Tensor, modules: Sequence[str]) -> Capture:
        """Capture the modules of these names, else those that the model names, else what is found."""
        names = modules or getattr(unwrap(model).config, "feature_modules", ())
        if not names:
            return self.find_features(model, pixel_values)
        return LevelsCapture([FeatureCapture.of_module(model, name) for name in names])

    def model_inputs(self, batch: Batch) -> dict[str, Any]:
        """Return the part of a batch that both models are shown."""
        return {"pixel_values": batch["pixel_values"]}

    def teacher_inputs(self, batch: Batch) -> dict[str, Any]:
        """Return the part of a batch that the teacher is shown, which may be more."""
        return self.model_inputs(batch)

    def student_forward(self, model: nn.Module, batch: Batch, capture: Capture | None) -> Forward:
        """Run the student; it is shown more than `model_inputs` where its own loss reads labels."""
        return run_model(model, self.model_inputs(batch), capture)

    @abstractmethod
    def prediction(self, output: Any) -> Tensor:
        """Return the tensor of a model's output that this task reads, for example its logits."""

    def stored_output(self, student: Forward, teacher: Forward) -> dict[str, Tensor]:
        """Return the tensors (B, ...) that this task reads of the teacher's output, by name, for a cache."""
        raise ValueError(
            f"`teacher_cache` must be left out for {self.name}, whose task has no `stored_output`, got a "
            "folder; leave it out, or define `stored_output` and `answer_class`."
        )

    def restored_output(self, tensors: Mapping[str, Tensor]) -> Any:
        """Return an output of a teacher made of the tensors of `stored_output`."""
        return self.answer_class(**tensors)

    @abstractmethod
    def check_batch(self, batch: Batch) -> None:
        """Raise `ValueError` if a batch cannot be learned from; called once, on the first one."""

    def check_training_batch(self, batch: Batch) -> None:
        """Do `check_batch`, and warn of what a batch may be scored on but should not be trained on."""
        self.check_batch(batch)

    @abstractmethod
    def task_loss(self, output: Any, batch: Batch) -> Tensor:
        """Return the supervised loss, a mean over what is labelled, and 0 if nothing is."""

    @abstractmethod
    def output_loss(self, student: Forward, teacher: Forward, batch: Batch, *, temperature: float) -> Tensor:
        """Return how far the student's output is from the teacher's, place by place; a mean.

        Args:
            student: The student's forward.
            teacher: The teacher's.
            batch: What both were shown.
            temperature: Divides logits, where the outputs are logits.
        """

    @abstractmethod
    def feature_pairs(self, student: Forward, teacher: Forward, batch: Batch) -> list[MapPair]:
        """Return the captured feature maps, level by level, each pair on one grid."""

    def logit_maps(self, student: Forward, teacher: Forward, batch: Batch) -> MapPair:
        """Return the two maps of logits over the same classes; only where `has_logit_maps`."""
        raise ValueError(
            f"the outputs of {self.name} are no maps of logits, got a term that compares logits; choose a "
            "term that compares features or whole outputs."
        )

    @abstractmethod
    def score_maps(self, student: Forward, teacher: Forward, batch: Batch) -> ScoreMaps:
        """Return the whole outputs as maps that a critic can compare."""

    def scoring(self) -> dict[str, Any]:
        """Return what `evaluation_statistics` depends on beside `settings`, as JSON values."""
        return {}

    def has_labels(self, batch: Batch) -> bool:
        """Return whether anything in a batch is labelled, so that it can be scored."""
        return True

    def without_labels(self) -> None:
        """Learn from the teacher alone; raise `ValueError` where it cannot teach the student by itself."""
        self.learns_from_labels = False

    def note_in(self, student: PretrainedConfig) -> None:
        """Write into the configuration of a trained student what it does not say by itself."""

    def answers(self, teacher_output: Any, batch: Batch) -> list[Any]:
        """Return the teacher's answers in the form of `labels`, one for each image, at the labels' sizes.

        Where nothing is labelled, the student is scored against them: that is agreement, no accuracy.
        """
        raise ValueError(
            f"the agreement with the teacher cannot be measured for {self.name}, whose task has no "
            "`answers`; define it, or evaluate on labelled images."
        )

    def filled_in(self, batch: Batch, teacher_output: Any) -> Batch:
        """Return a batch in which the teacher's answers stand in for missing labels, if `makes_labels`."""
        return batch

    def image_predictions(self, output: Any, batch: Batch) -> list[Any]:
        """Return what is predicted for each image as arrays of numpy, without reading a label's values.

        A task says it in its natural form; this is `prediction`, image by image. The batch may have no
        labels.
        """
        return list(self.prediction(output).detach().float().cpu().numpy())

    @abstractmethod
    def as_student(self, teacher_output: Any, batch: Batch) -> Any:
        """Return the teacher's output as the student would give it, for `evaluation_statistics`."""

    def describe(self) -> dict[str, str]:
        """Return lines of the start table that say how the two models are matched, text by label."""
        return {}

    def taught_classes(self) -> dict[str, str]:
        """Return for every class of either model by what it is taught; empty where there are no classes."""
        return {}

    @abstractmethod
    def settings(self) -> dict[str, Any]:
        """Return how the two models are matched, as JSON values; a resumed run must find the same."""
