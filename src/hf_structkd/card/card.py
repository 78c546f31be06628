"""The model card of a distilled student: `card_facts` reads a run, `model_card` writes what it found."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from huggingface_hub import EvalResult, ModelCard, ModelCardData

from .command import redact_tokens
from .facts import CardFacts, DataFacts, Origin, licenses_of
from .origin import hub_id_of, listed, name_of
from .run import RunNotes, card_facts
from .scores import metric_label
from .text import card_text

__all__ = ["CardFacts", "DataFacts", "Origin", "RunNotes", "card_facts", "model_card", "with_overrides"]

TAGS = ("structkd", "knowledge-distillation")
_KEYS = ("license", "library_name", "pipeline_tag", "base_model", "base_model_relation", "datasets", "tags")


def model_card(facts: CardFacts) -> ModelCard:
    """Write the card.

    `base_model` is where the student's weights started, with the relation `finetune`: the Hub draws its model
    tree, and people judge licences, from that key, and it knows no relation for a teacher, none of whose
    weights are in the student. A student from scratch therefore has no base model. The teacher is the first
    thing that the text names, and one from the Hub is also the tag `teacher:<id>`, by which the Hub can be
    searched for its students.

    Args:
        facts: What to say. Scores must be finite, as `finite_scores` leaves them.

    Returns:
        The card, without any token of the Hub.
    """
    head = _metadata(facts).to_yaml(original_order=list(_KEYS))
    return ModelCard(redact_tokens(f"---\n{head}\n---\n\n{card_text(facts)}"))


def with_overrides(
    facts: CardFacts,
    *,
    language: str | None = None,
    license: str | None = None,
    tags: str | Sequence[str] | None = None,
    model_name: str | None = None,
    finetuned_from: str | None = None,
    tasks: str | Sequence[str] | None = None,
    dataset_tags: str | Sequence[str] | None = None,
    dataset: str | Sequence[str] | None = None,
    dataset_args: str | Sequence[str] | None = None,
) -> CardFacts:
    """The facts with what a caller of `Trainer.create_model_card` asked for in their place.

    Args:
        facts: Read off the run.
        language: Of the metadata.
        license: In place of the teacher's.
        tags: Added to the card's own.
        model_name: Title of the card.
        finetuned_from: Where the student's weights started.
        tasks: The first one is the pipeline tag.
        dataset_tags: Ids of datasets on the Hub; the first one is what the scores are of.
        dataset: The name of that one.
        dataset_args: Its configuration.
    """
    changes: dict[str, Any] = {"language": language, "license": license, "name": model_name}
    changes["tags"] = (*facts.tags, *listed(tags))
    if finetuned_from is not None:
        changes |= {
            "student": Origin(name_of(finetuned_from), hub_id_of(finetuned_from)),
            "from_scratch": False,
        }
    if tasks:
        changes["pipeline_tag"] = listed(tasks)[0]
    ids, names, configs = listed(dataset_tags), listed(dataset), listed(dataset_args)
    if ids or names or configs:
        data = facts.data or DataFacts(source=Origin("unknown"))
        source = replace(data.source, name=[*names, *ids, data.source.name][0])
        if ids:
            source, changes["dataset_ids"] = Origin(source.name, ids[0]), tuple(ids)
        changes["data"] = replace(data, source=source, config=configs[0] if configs else data.config)
    return replace(facts, **{name: value for name, value in changes.items() if value is not None})


def _metadata(facts: CardFacts) -> ModelCardData:
    licenses = licenses_of(facts)
    # A student that goes on from its own repository has no other one for a base.
    base = None if facts.from_scratch or facts.student.hub_id == facts.repo_id else facts.student.hub_id
    tags = [*TAGS, *facts.tags]
    if facts.teacher is not None and facts.teacher.hub_id is not None:
        tags.append(f"teacher:{facts.teacher.hub_id}")
    results = _eval_results(facts)
    return ModelCardData(
        license=licenses[0] if len(licenses) == 1 else list(licenses) or None,  # type: ignore[arg-type]
        library_name="transformers",
        pipeline_tag=facts.pipeline_tag,
        base_model=base,
        base_model_relation=None if base is None else "finetune",
        datasets=list(dict.fromkeys(facts.dataset_ids)) or None,
        language=facts.language,
        tags=tags,
        model_name=facts.name if results else None,
        eval_results=results or None,
    )


def _eval_results(facts: CardFacts) -> list[EvalResult]:
    data = facts.data or DataFacts(source=Origin("unknown"))
    return [
        EvalResult(
            task_type=facts.pipeline_tag,
            task_name=facts.pipeline_tag.replace("-", " ").capitalize(),
            # The type links to a dataset of the Hub: a folder's name would link to whatever has it there.
            dataset_type=data.source.hub_id or "local",
            dataset_name=data.source.name,
            dataset_config=data.config,
            dataset_split=data.validation_split,
            dataset_revision=data.source.revision,
            metric_type=name,
            metric_name=metric_label(name),
            metric_value=value,
        )
        for name, value in facts.metrics.items()
    ]
