"""The facts of a model card as plain values, without trainer, files and network."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from .scores import Score


class Origin(NamedTuple):
    """The place that a model or a dataset came from.

    Attributes:
        name: Name for people: an id on the Hub or the last name of a folder, never a path of one machine.
        hub_id: Id on the Hub; None if it did not come from there.
        revision: Branch, tag or commit; None means the main branch.
        licenses: Licences that its own card states; empty if they are not known.
        generated: Whether this library generated it, so that it has no licence of its own.
    """

    name: str
    hub_id: str | None = None
    revision: str | None = None
    licenses: tuple[str, ...] = ()
    generated: bool = False


class DataFacts(NamedTuple):
    """The data of a run.

    Attributes:
        source: Origin of the labelled images.
        config: Configuration of the dataset.
        train_split: Name of the training split.
        validation_split: Name of the split that was scored.
        train_images: Number of training images, with or without labels; None if unknown, as for a stream.
        validation_images: Number of images that were scored; None if unknown.
        unlabeled: Origin of the images without labels, or None.
        notes: What the training rows hold: labels and texts.
        has_labels: Whether labels were trained on.
        is_scored: Whether there were images to score the student on.
        agreement: Whether the scores are agreement with the teacher, for want of labels.
    """

    source: Origin
    config: str | None = None
    train_split: str | None = None
    validation_split: str | None = None
    train_images: int | None = None
    validation_images: int | None = None
    unlabeled: Origin | None = None
    notes: tuple[tuple[str, str], ...] = ()
    has_labels: bool = True
    is_scored: bool = True
    agreement: bool = False


class TermFacts(NamedTuple):
    """One term of the loss.

    Attributes:
        title: Name of the term for people.
        weight: Multiplier of the term in the total; 0 means that the term is switched off.
        compares: Description of what the term compares.
    """

    title: str
    weight: float
    compares: str


@dataclass(frozen=True, kw_only=True)
class CardFacts:
    """All facts of a card, also those that the caller of `create_model_card` asks for.

    Attributes:
        name: Title of the card.
        repo_id: Id of the student's repository on the Hub; None if there is none, and usage shows `folder`.
        folder: Last name of the student's folder; empty if unknown, and usage shows `name`.
        pipeline_tag: The task, as `Task.name` has it.
        student: Origin of the student's weights, or of its configuration if it started without weights.
        terms: All terms, including those that are switched off.
        teacher: Origin of the teacher; None for a student that was trained alone.
        teacher_description: Class and size of the teacher.
        matching: How student and teacher are matched, text by label.
        classes: Name of each class of either model -> by what it is taught.
        needs_library: Whether the student has a class of `hf_structkd`, whose code lies beside it.
        is_wrapped: Whether it is a network that is no model of transformers, whose code lies beside it.
        is_adapter: Whether the files hold adapters of PEFT alone, and not the model that they stand on.
        base_is_found: Whether transformers finds that model, with the student's classes, by its name.
        settings: Further settings of distillation and training, by name, as text.
        data: Data of the run; None if nothing is known of them.
        dataset_ids: Ids of the datasets on the Hub.
        usage: Lines of Python that use the answer `predictor(image)`; if empty, the snippet prints it.
        scores: Scores of the student; empty before the first evaluation.
        teacher_scores: Those of the teacher, on the same images; empty if it was not scored.
        table: Markdown table of teacher, student alone and distilled; None if nothing was compared.
        figures: Paths of the figures, relative to the card.
        report: Path of the page of the run, relative to the card; None if there is none.
        command: Command of the training, without tokens and paths of one machine; None if unknown.
        train_seconds: Duration of the training in seconds; None before its end.
        license: Licence that the caller asks for; None means the teacher's.
        tags: Tags in addition to those of every card.
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
    is_wrapped: bool = False
    is_adapter: bool = False
    base_is_found: bool = False
    teacher: Origin | None = None
    teacher_description: str | None = None
    matching: Mapping[str, str] = field(default_factory=dict)
    classes: Mapping[str, str] = field(default_factory=dict)
    settings: Mapping[str, str] = field(default_factory=dict)
    data: DataFacts | None = None
    dataset_ids: tuple[str, ...] = ()
    usage: str = ""
    scores: tuple[Score, ...] = ()
    teacher_scores: tuple[Score, ...] = ()
    table: str | None = None
    figures: tuple[str, ...] = ()
    report: str | None = None
    command: str | None = None
    train_seconds: float | None = None
    language: str | None = None
    license: str | None = None
    folder: str = ""
    tags: tuple[str, ...] = ()


def licenses_of(facts: CardFacts) -> tuple[str, ...]:
    """Return the licence that the caller asks for, else the teacher's; without a teacher, the start's.

    The answer is empty if the licence that decides is not known. No licence is guessed.
    """
    if facts.license is not None:
        return (facts.license,)
    if facts.teacher is not None:
        return facts.teacher.licenses
    return () if facts.from_scratch else facts.student.licenses


def license_notice(facts: CardFacts) -> str | None:
    """Return a sentence if the licences behind a student are unknown or differ; None if all agree.

    A licence that the caller asks for is the caller's decision; the answer is then None.
    """
    origins = {
        "teacher": facts.teacher,
        "student's start": None if facts.from_scratch else facts.student,
        "data": Origin("") if facts.data is None else facts.data.source,
        "unlabelled data": None if facts.data is None else facts.data.unlabeled,
    }
    stated = {
        f"{role} {origin.name}".rstrip(): " and ".join(origin.licenses) or "not known"
        for role, origin in origins.items()
        if origin is not None and not origin.generated
    }
    is_unknown = "not known" in stated.values()
    if facts.license is not None or (len(set(stated.values())) < 2 and not is_unknown):
        return None
    listed = "; ".join(f"{name}: {license}" for name, license in stated.items())
    reason = "are not all known" if is_unknown else "are not all the same"
    return f"The licences behind this student {reason} ({listed}); check what it may be used for."
