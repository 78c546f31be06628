"""What a model card says, as plain values: no trainer, no file, no network."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Origin:
    """Where a model or a dataset came from.

    Attributes:
        name: For people: an id on the Hub or the last name of a folder, never a path of one machine.
        hub_id: Its id on the Hub, or None where it did not come from there.
        revision: Branch, tag or commit; None is the main branch.
        licenses: What its own card states; empty where that is not known.
        generated: Whether this library made it, so that it brings no licence of its own.
    """

    name: str
    hub_id: str | None = None
    revision: str | None = None
    licenses: tuple[str, ...] = ()
    generated: bool = False


@dataclass(frozen=True, kw_only=True)
class DataFacts:
    """The data of a run.

    Attributes:
        source: Where the labelled images came from.
        config: Its configuration.
        train_split: Name of the split that was trained on.
        validation_split: Name of the split that was scored.
        train_images: Images trained on, those without labels included; None if unknown, as for a stream.
        validation_images: Images scored.
        unlabeled: Where images without labels came from, if any joined.
    """

    source: Origin
    config: str | None = None
    train_split: str | None = None
    validation_split: str | None = None
    train_images: int | None = None
    validation_images: int | None = None
    unlabeled: Origin | None = None


@dataclass(frozen=True)
class TermFacts:
    """One term of the loss.

    Attributes:
        title: Its name for people.
        weight: Its multiplier in the total; 0 means that it is switched off.
        compares: What it compares, in words.
    """

    title: str
    weight: float
    compares: str


@dataclass(frozen=True, kw_only=True)
class CardFacts:
    """Everything that a card says.

    Attributes:
        name: Title of the card.
        repo_id: Where the student is pushed; None if nowhere, and the usage snippet names `name`.
        pipeline_tag: The task, as `Task.name` has it.
        architecture: Class of the student.
        parameters: How many the student has.
        needs_library: Whether the student only loads once `hf_structkd` is imported.
        student: Where the student's weights, or without any its configuration, came from.
        from_scratch: Whether the student started without weights.
        teacher: Where the teacher came from; None for a student that was trained alone.
        teacher_description: Its class and size.
        terms: Every term, those that are switched off too.
        settings: Further settings of distillation and training, by name, as they are to be printed.
        data: None if nothing is known of it.
        dataset_ids: The data on the Hub.
        usage: Lines of Python that use the answer `predictor(image)`; empty prints it.
        metrics: Scores of the student, without `eval_`; empty before the first evaluation.
        metric_labels: Name of a metric to its name for people.
        class_metric_labels: The same of metrics of one class, by the beginning of their names.
        table: Markdown table of teacher, student alone and distilled; None where nothing was compared.
        figures: Paths relative to the card.
        command: The command that trained it, without tokens and paths of one machine; None if unknown.
        seed: Of the run.
        steps: Optimiser steps done.
        epochs: Epochs done.
        global_batch_size: Images in one optimiser step.
        train_seconds: Duration of the training; None while it goes on.
        hardware: Name of the device.
        processes: How many trained together.
        versions: Of the libraries, by name.
        language: Asked for by the caller of `create_model_card`.
        license: Asked for by the same; None is the teacher's.
        tags: Further ones, asked for by the same.
    """

    name: str
    repo_id: str | None
    pipeline_tag: str
    architecture: str
    parameters: int
    student: Origin
    from_scratch: bool
    terms: tuple[TermFacts, ...]
    seed: int
    steps: int
    epochs: float
    global_batch_size: int
    hardware: str
    processes: int
    versions: Mapping[str, str]
    needs_library: bool = False
    teacher: Origin | None = None
    teacher_description: str | None = None
    settings: Mapping[str, str] = field(default_factory=dict)
    data: DataFacts | None = None
    dataset_ids: tuple[str, ...] = ()
    usage: str = ""
    metrics: Mapping[str, float] = field(default_factory=dict)
    metric_labels: Mapping[str, str] = field(default_factory=dict)
    class_metric_labels: Mapping[str, str] = field(default_factory=dict)
    table: str | None = None
    figures: tuple[str, ...] = ()
    command: str | None = None
    train_seconds: float | None = None
    language: str | None = None
    license: str | None = None
    tags: tuple[str, ...] = ()


def licenses_of(facts: CardFacts) -> tuple[str, ...]:
    """Return the student's licences: as asked for, else the teacher's, else, without one, its start's.

    Never guessed: empty where the one that decides is not known.
    """
    if facts.license is not None:
        return (facts.license,)
    if facts.teacher is not None:
        return facts.teacher.licenses
    return () if facts.from_scratch else facts.student.licenses


def license_notice(facts: CardFacts) -> str | None:
    """Return a sentence where the licences behind a student are unknown or differ; None where all agree.

    A licence that the caller asked for is the caller's decision, and nothing is said.
    """
    parties = _licensed(facts)
    if facts.license is not None or not parties:
        return None
    stated = {name: " and ".join(licenses) or "not known" for name, licenses in parties.items()}
    if len(set(stated.values())) == 1 and all(parties.values()):
        return None
    listed = "; ".join(f"{name}: {license}" for name, license in stated.items())
    reason = "are not all the same" if all(parties.values()) else "are not all known"
    return f"The licences behind this student {reason} ({listed}); check what it may be used for."


def _licensed(facts: CardFacts) -> dict[str, tuple[str, ...]]:
    """Return everything that brings a licence, as the notice names it, and what it states."""
    origins = {
        "teacher": facts.teacher,
        "student's start": None if facts.from_scratch else facts.student,
        "data": Origin("") if facts.data is None else facts.data.source,
        "unlabelled data": None if facts.data is None else facts.data.unlabeled,
    }
    return {
        f"{role} {origin.name}".rstrip(): origin.licenses
        for role, origin in origins.items()
        if origin is not None and not origin.generated
    }
