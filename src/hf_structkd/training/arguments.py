"""`StructKDTrainingArguments`: every setting of the distillation, its range, and the published presets."""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

import torch
from transformers import TrainingArguments

from ..data.transforms import LONGEST_SIDE
from ..models.teacher import TeacherDtype
from ..terms import built_in_terms
from ..terms.base import check_choice
from ..terms.pairwise import positive_integers
from .argument_checks import NEED_METRICS, check_balance, check_run, check_shard, names_of
from .presets import preset_settings
from .schedules import ScheduleArguments


@dataclass(repr=False)  # Trainer's own hides the token
class StructKDTrainingArguments(ScheduleArguments, TrainingArguments):
    """`transformers.TrainingArguments` plus the settings of structured knowledge distillation.

    The total is the sum of the terms, each times its weight. Every term is a mean (over valid pixels, over
    node pairs, over images), so that no weight depends on the batch size, the number of processes or the
    accumulation. A weight of 0 turns its term off, and what only that term needs (the teacher, feature maps,
    the critic) is then neither built nor run.

    Args:
        task_weight: Weight of the supervised loss, >= 0.
        pixel_weight: Weight of the pixel-wise term, for example KL(teacher || student) per pixel, >= 0; None
            is the task's default, as for the next two.
        pairwise_weight: Weight of the pair-wise term, squared differences of affinities, >= 0.
        holistic_weight: Weight of the adversarial term on the student's side, >= 0.
        mimic_weight: Weight of the feature imitation, one minus the correlation of the channels, >= 0.
        channel_weight: Weight of the channel-wise term, KL of each channel's softmax over space, >= 0.
        attention_weight: Weight of the attention transfer, one minus the cosine of the two maps, >= 0.
        temperature: Divides the logits in the pixel-wise term, which is multiplied by its square; above 0.
        granularity: Side of a node in pixels of the aligned feature map: one number, or rows and columns.
        node_grid: Nodes a side, at most, in place of `granularity`: a node is then the map's side divided by
            it, rounded up.
        connection_range: How many nearest nodes each node is compared with, an odd square; None is all.
        node_pooling: How the pixels of a node become one vector, "mean" (the paper) or "max".
        critic_loss: "wgan-gp" (the paper) or "hinge" (the more stable one).
        critic_learning_rate: Peak learning rate of the critic, > 0; it follows `lr_scheduler_type`.
        critic_optimizer: "adam" (betas 0.9 and 0.99) or "sgd" (momentum 0.9).
        critic_max_grad_norm: The critic's gradient is clipped to this norm; 0 switches clipping off.
        critic_conditional: Whether the critic sees the image beside the map (the paper) or the map alone.
        critic_spectral_norm: Whether the critic's convolutions are spectrally normalised.
        gradient_penalty_weight: Weight of the critic's gradient penalty, >= 0; 0 leaves it out.
        critic_interval: The critic learns in every so many steps of the student, >= 1.
        critic_map_size: Longest side of the maps that the critic compares, >= 8; larger ones are averaged.
        channel_source: What the channel-wise term compares, "logits" or "features"; None is maps of logits,
            or features where there are none.
        channel_temperature: Divides both maps in the channel-wise term, which is multiplied by its square;
            above 0.
        student_feature: Modules of the student whose outputs the terms on features compare, one for each
            level; none finds what the task compares, for example the last map before the classifier.
        teacher_feature: Modules of the teacher, as many as of the student.
        teacher_image_size: Height and width of the images that the teacher is shown. Data of this package are
            read in that size beside the student's, the same part of the image with all the detail of the
            file; other images are resized. Empty shows it the student's.
        teacher_dtype: Precision in which the teacher runs: "float32", "bfloat16", "float16", "int8" (its
            linear layers alone), or "auto", that of its weights. Its answers are float32 for every term.
        teacher_cache: Folder in which the teacher's answers are kept, for later epochs and other runs; None
            keeps none. An image must be shown again exactly as before, as `augmentation_views` has it.
        teacher_cache_dtype: Precision of the answers that are kept, "float16" or "float32".
        teacher_cache_top_k: How many classes of each pixel are kept, and the rest as one number, >= 1; None
            keeps all. Only for maps of class logits, and terms that read their probabilities.
        shard: Which of "student" and "teacher" are sharded over the processes, layer by layer, where one
            device cannot hold them; see docs/scaling.md.
        remove_unused_columns: As in `TrainingArguments`, but off: an image column may have any name.
        batch_eval_metrics: As in `TrainingArguments`, but on: evaluation then takes constant memory.
        logging_steps: As in `TrainingArguments`, but 10: the curves of a short run are drawn from the log.

    Raises:
        ValueError: If a value is out of the range given above.

    References:
        Liu, Shu, Wang, Shen: Structured Knowledge Distillation for Dense Prediction, TPAMI 2020, eq. (9).
    """

    task_weight: float = field(default=1.0, metadata={"help": "Weight of the supervised loss."})
    pixel_weight: float | None = field(
        default=None, metadata={"help": "Weight of the pixel-wise term; 0 is off, unset the task's default."}
    )
    pairwise_weight: float | None = field(
        default=None, metadata={"help": "Weight of the pair-wise term; 0 is off, unset the task's default."}
    )
    holistic_weight: float | None = field(
        default=None, metadata={"help": "Weight of the holistic term; 0 is off, unset the task's default."}
    )
    mimic_weight: float = field(default=0.0, metadata={"help": "Weight of the feature imitation; 0 is off."})
    channel_weight: float = field(
        default=0.0, metadata={"help": "Weight of the channel-wise term; 0 is off."}
    )
    attention_weight: float = field(
        default=0.0, metadata={"help": "Weight of the attention transfer; 0 is off."}
    )
    temperature: float = field(default=1.0, metadata={"help": "Temperature of the pixel-wise term."})
    granularity: list[int] = field(
        default_factory=lambda: [2],
        metadata={"help": "Side of a node in feature pixels: one number, or rows and columns."},
    )
    node_grid: int | None = field(
        default=None,
        metadata={"help": "Nodes a side, in place of granularity: the node size follows the map."},
    )
    connection_range: int | None = field(
        default=None, metadata={"help": "Nodes each node is compared with, an odd square; unset is all."}
    )
    node_pooling: Literal["mean", "max"] = field(
        default="mean", metadata={"help": "How the pixels of a node become one vector."}
    )
    critic_loss: Literal["wgan-gp", "hinge"] = field(
        default="hinge", metadata={"help": "Loss of the critic and of the student's holistic term."}
    )
    critic_learning_rate: float = field(default=4e-4, metadata={"help": "Peak learning rate of the critic."})
    critic_optimizer: Literal["adam", "sgd"] = field(
        default="adam", metadata={"help": "The critic's optimiser."}
    )
    critic_max_grad_norm: float = field(
        default=1.0, metadata={"help": "Norm to which the critic's gradient is clipped; 0 is off."}
    )
    critic_conditional: bool = field(
        default=True, metadata={"help": "Show the critic the image beside the map, as in the paper."}
    )
    critic_spectral_norm: bool = field(
        default=True, metadata={"help": "Normalise the critic's convolutions spectrally."}
    )
    gradient_penalty_weight: float = field(
        default=0.0, metadata={"help": "Weight of the critic's gradient penalty; 10 in the paper, 0 is off."}
    )
    critic_interval: int = field(
        default=1, metadata={"help": "The critic learns in every so many steps of the student."}
    )
    critic_map_size: int = field(
        default=128, metadata={"help": "Longest side of the critic's maps; larger ones are averaged."}
    )
    channel_source: Literal["logits", "features"] | None = field(
        default=None,
        metadata={"help": "What the channel-wise term compares; unset is logits, if there are maps."},
    )
    channel_temperature: float = field(
        default=4.0, metadata={"help": "Temperature of the channel-wise term; 4 in its paper."}
    )
    student_feature: list[str] = field(
        default_factory=list,
        metadata={"help": "Student modules whose outputs are compared as features; unset finds one."},
    )
    teacher_feature: list[str] = field(
        default_factory=list,
        metadata={"help": "Teacher modules whose outputs are compared as features; unset finds one."},
    )
    teacher_image_size: list[int] = field(
        default_factory=list,
        metadata={
            "help": "Height and width in which the teacher is shown the same part of an image, with the "
            "detail of its file; unset shows it the student's."
        },
    )
    teacher_dtype: TeacherDtype = field(
        default="auto", metadata={"help": "Precision in which the teacher runs; auto is that of its weights."}
    )
    teacher_cache: str | None = field(
        default=None,
        metadata={"help": "Folder that keeps the teacher's answers; pass --augmentation_views beside it."},
    )
    teacher_cache_dtype: Literal["float16", "float32"] = field(
        default="float16", metadata={"help": "Precision of the answers that are kept."}
    )
    teacher_cache_top_k: int | None = field(
        default=None,
        metadata={"help": "Classes of each pixel that are kept, the rest as one number; unset is all."},
    )
    shard: list[str] = field(
        default_factory=list,
        metadata={"help": "Models that are sharded over the processes: student, teacher, or both."},
    )
    remove_unused_columns: bool = field(
        default=False,
        metadata={"help": "Remove dataset columns the model does not name; images need them all."},
    )
    batch_eval_metrics: bool = field(
        default=True, metadata={"help": "Feed the metric batch by batch, in constant memory."}
    )
    logging_steps: float = field(
        default=10,
        metadata={"help": "Log every so many steps, or this share of the run; curves are drawn from it."},
    )

    def __post_init__(self) -> None:
        """Check every value; `granularity` and the like become lists, as JSON gives them back."""
        # Trainer's own defaults hide whether these were given.
        self.gives_best_metric = self.metric_for_best_model is not None
        self.gives_best_direction = self.greater_is_better is not None
        check_run(self)
        super().__post_init__()
        # torch warns where there is no accelerator to copy to.
        self.dataloader_pin_memory &= torch.accelerator.is_available()
        self.shard = names_of(self.shard)
        check_shard(self, self.shard)
        check_balance(self, steps=self.balance_steps, sharded=self.shard)
        self.granularity = positive_integers("granularity", self.granularity, lengths=(1, 2))
        self.teacher_image_size = (
            positive_integers("teacher_image_size", self.teacher_image_size, lengths=(2,))
            if self.teacher_image_size
            else []
        )
        if max(self.teacher_image_size, default=0) > LONGEST_SIDE:
            raise ValueError(
                f"`teacher_image_size` must be at most {LONGEST_SIDE:,} pixels a side, got "
                f"{self.teacher_image_size}; no memory holds the maps of such images."
            )
        if self.teacher_cache_top_k is not None and (self.teacher_cache_top_k < 1 or not self.teacher_cache):
            raise ValueError(
                "`teacher_cache_top_k` must be at least 1 and stand beside `teacher_cache`, got "
                f"{self.teacher_cache_top_k} and {self.teacher_cache!r}; correct it, or leave it out."
            )
        self.student_feature = names_of(self.student_feature)
        self.teacher_feature = names_of(self.teacher_feature)
        check_choice("teacher_dtype", self.teacher_dtype, get_args(TeacherDtype))
        terms = built_in_terms(self)  # checks their weights and settings
        if all(term.weight == 0 for term in terms):
            raise ValueError(
                "every term's weight is 0, so nothing would be trained; set `task_weight` above 0."
            )
        if self.holistic_weight != 0 and self.lr_scheduler_type in NEED_METRICS:
            raise ValueError(
                f"`lr_scheduler_type` must not need a metric, which the critic has none of, got "
                f"{str(self.lr_scheduler_type.value)!r}; choose another or set `holistic_weight` to 0."
            )

    @property
    def n_gpu(self) -> int:
        """At most 1: in `DataParallel` no hook sees the replicas' maps; launch one process a GPU."""
        return min(int(super().n_gpu), 1)

    @property
    def compiling(self) -> dict[str, Any] | None:
        """What `torch.compile` takes for both models, or None if they are not compiled."""
        if not self.torch_compile:
            return None
        return {"backend": self.torch_compile_backend, "mode": self.torch_compile_mode}

    @property
    def global_batch_size(self) -> int:
        """Images in one optimiser step, over processes and accumulation."""
        return int(self.train_batch_size * self.world_size * self.gradient_accumulation_steps)

    @classmethod
    def from_preset(cls, preset: str, **overrides: Any) -> StructKDTrainingArguments:
        """Build arguments with the weights of a published configuration, converted to this library's means.

        Args:
            preset: "paper" (Liu et al. 2020), "official" (the authors' code) or "cirkd" (Yang et al. 2022).
            **overrides: Any field; an explicit value wins over the preset's. A `granularity` switches off the
                preset's `node_grid`, which would take its place.

        Returns:
            The arguments. "official" multiplies its pixel-wise weight by the global batch size, because that
            code sums the term over its batch, while this library's is a mean.

        Raises:
            ValueError: If the preset is unknown.
        """
        args = cls(**{**preset_settings(preset), **overrides})
        args.convert_preset(preset, given=overrides)
        return args

    def convert_preset(self, preset: str | None, *, given: Container[str]) -> None:
        """Fit a preset's settings to the batch size and to the fields that the caller set.

        Args:
            preset: Its name; None leaves everything as it is.
            given: Names of the fields that the caller set and that stay as they are.
        """
        if preset == "official" and "pixel_weight" not in given and self.pixel_weight is not None:
            self.pixel_weight *= self.global_batch_size
        if preset is not None and "granularity" in given and "node_grid" not in given:
            self.node_grid = None


TRAINER_SETTINGS = (
    *("student_feature", "teacher_feature", "teacher_image_size"),
    *("teacher_dtype", "teacher_cache_dtype", "teacher_cache_top_k"),
)
"""Settings that belong to no term and that a resumed run must find again."""
