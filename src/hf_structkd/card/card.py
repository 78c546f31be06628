"""The model card of a student: `model_card` renders the facts, `write_card` those of a run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from huggingface_hub import EvalResult, ModelCard, ModelCardData

from . import markdown
from .command import redact_tokens
from .facts import CardFacts, DataFacts, Origin, license_notice, licenses_of
from .origin import hub_id_of, listed, name_of
from .protocols import Run
from .run import RunNotes, card_facts
from .scores import Score, labelled_scores

TEMPLATE = Path(__file__).with_name("template.md.jinja")
TAGS = ("structkd", "knowledge-distillation")
_KEYS = ("license", "library_name", "pipeline_tag", "base_model", "base_model_relation", "datasets", "tags")


def write_card(run: Run, notes: RunNotes | None = None, **overrides: Any) -> None:
    """Write the card of a run as `README.md` into its `output_dir`; on the main process.

    Args:
        run: Its trainer.
        notes: What the trainer does not know.
        **overrides: What to say in place of what the run says, see `with_overrides`.
    """
    facts = with_overrides(card_facts(run, notes), **overrides)
    model_card(facts).save(Path(str(run.args.output_dir)) / "README.md")


def model_card(facts: CardFacts) -> ModelCard:
    """Render the card.

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
    card = ModelCard.from_template(_metadata(facts), str(TEMPLATE), **template_variables(facts))
    return ModelCard(redact_tokens(f"{card}\n"))  # Jinja drops a template's last newline


def template_variables(facts: CardFacts) -> dict[str, Any]:
    """Return what the template may name: the facts, what follows from them, and the module `markdown`."""
    return {
        **vars(facts),
        # In the order of `_KEYS`, which `from_template`'s own `card_data` does not keep.
        "metadata": _metadata(facts).to_yaml(original_order=list(_KEYS)),
        "scores": _scores(facts),
        "licenses": licenses_of(facts),
        "notice": license_notice(facts),
        "markdown": markdown,
    }


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
    """Return the facts with what a caller of `Trainer.create_model_card` asked for in their place.

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
    if tasks and listed(tasks)[0] != facts.pipeline_tag:
        # What another pipeline answers is not known here.
        changes |= {"pipeline_tag": listed(tasks)[0], "usage": ""}
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
            metric_type=score.name,
            metric_name=score.label,
            metric_value=score.value,
        )
        for score in _scores(facts)
    ]


def _scores(facts: CardFacts) -> list[Score]:
    return labelled_scores(facts.metrics, facts.metric_labels, facts.class_metric_labels)
