"""Score a trained model on a dataset, whatever its classes, its normalisation and its size of images."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, NamedTuple, Protocol

import torch
from accelerate.utils import send_to_device
from torch.utils.data import DataLoader
from transformers import PretrainedConfig
from transformers.trainer_utils import has_length
from transformers.utils import logging

from ...data import DataOptions, LoadedData
from ...data.options import pair_of
from ...models.ignore_index import set_ignore_index
from ...tasks import Task
from .loading import Trained

logger = logging.get_logger(__name__)

_USUAL_SEED = 42  # of a training that names none


class ScoringSettings(Protocol):
    """What decides which rows are scored, and in which size."""

    own_size: bool
    data_seed: int | None


class Scored(NamedTuple):
    """What a model is scored on and how.

    Attributes:
        data: The data, in the size and normalisation of the model.
        size: Height and width of the images.
        task: Scores what `answer` returns.
        answer: Turns the model's output, with the batch, into the answer over the classes of the data.
    """

    data: LoadedData
    size: tuple[int, int]
    task: Task
    answer: Callable[[Any, Any], Any]

    @property
    def rows(self) -> Any:
        """The rows that are scored."""
        return self.data.validation

    def first_image(self) -> dict[str, Any]:
        """Return what the model is shown of the first validation image, as a batch."""
        row = self.rows[0] if has_length(self.rows) else next(iter(self.rows))
        return self.task.model_inputs(self.task.collate([row]))


def seed_of(options: DataOptions, data_seed: int | None) -> int:
    """Return the seed by which rows are held out; say which one it is, where it decides and was not named."""
    if data_seed is None and options.validation_fraction is not None:
        logger.warning(
            "`--validation_fraction` holds out the rows that a training with the seed %d holds out: name the "
            "training's `--data_seed`, or else its `--seed`, as `--data_seed` if it had another one, or rows "
            "are scored that the student has learned.",
            _USUAL_SEED,
        )
    return _USUAL_SEED if data_seed is None else data_seed


def prepare(trained: Trained, options: DataOptions, settings: ScoringSettings) -> Scored:
    """Load the data as the model wants them, and match its classes with those of the data by name.

    Args:
        trained: The model.
        options: The data.
        settings: Whether the images get the size of the model's image processor, where it has one, and the
            seed by which rows are held out.

    Raises:
        ValueError: If the data cannot be loaded, or the model knows fewer than two of their classes.
    """
    size = (trained.own_size if settings.own_size else None) or pair_of("image_size", options.image_size)
    if trained.processor is None:
        logger.warning(
            "%s has no image processor: it is shown images of %s × %s in ImageNet's normalisation; set "
            "`--image_size` to the size that it was trained with.",
            trained.name,
            *size,
        )
    few: dict[str, Any] = {} if options.dataset_name is not None else {"max_train_samples": 1}
    data = trained.kind.load_data(
        replace(options, image_size=list(size), **few),
        normalization=trained.normalization,
        teacher=trained.config,
        seed=seed_of(options, settings.data_seed),
    )
    if data.validation is None:
        raise ValueError("`validation_split` names no rows to score; name a split of the dataset.")
    try:
        task, answer = _matched(trained, data, trained.kind.task_options(options))
    except ValueError as error:
        raise ValueError(
            f"{trained.name} cannot be scored on these data, whose classes stand for the "
            f"student's here: {error}"
        ) from error
    return Scored(data, size, task, answer)


@torch.no_grad()
def score(
    run: Callable[..., Any], scored: Scored, *, device: torch.device, batch_size: int, workers: int
) -> dict[str, float]:
    """Return the scores on the validation rows.

    Args:
        run: The model, or what answers in its place.
        scored: The data and how they are scored.
        device: Where the batches are put.
        batch_size: Images shown at once.
        workers: Processes that read images.
    """
    loader: DataLoader[Any] = DataLoader(
        scored.rows,
        batch_size=batch_size,
        collate_fn=scored.task.collate,
        num_workers=workers,
    )
    metric = scored.task.metric()
    for batch in loader:
        inputs = send_to_device(batch, device)
        output = run(**scored.task.model_inputs(inputs))
        metric.add_statistics(scored.task.evaluation_statistics(scored.answer(output, inputs), inputs))
    return {name: value for name, value in metric.compute().items() if isinstance(value, float)}


def _matched(
    trained: Trained, data: LoadedData, options: Mapping[str, Any]
) -> tuple[Task, Callable[[Any, Any], Any]]:
    names, config = data.id2label, copy.deepcopy(trained.config)
    if names is None:
        return _in_place_of_teacher(trained, PretrainedConfig(), options)
    if config.id2label == names:  # it is a student of these data, and may have a single class
        if data.ignore_index is not None:
            set_ignore_index(config, data.ignore_index)
        return trained.kind(config, None), lambda output, batch: output
    reference = PretrainedConfig(id2label=names, label2id={name: index for index, name in names.items()})
    if data.ignore_index is not None:
        set_ignore_index(reference, data.ignore_index)
    return _in_place_of_teacher(trained, reference, options)


def _in_place_of_teacher(
    trained: Trained, reference: PretrainedConfig, options: Mapping[str, Any]
) -> tuple[Task, Callable[[Any, Any], Any]]:
    """Score the model as a teacher of a student that has exactly the classes of the data."""
    task = trained.kind(reference, trained.config, **options)
    return task, task.as_student
