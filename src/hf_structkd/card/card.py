"""Renders the model card of a student: `model_card` from facts, `write_card` from a run."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from huggingface_hub import EvalResult, ModelCard, ModelCardData

from . import markdown
from .command import redact_tokens
from .facts import CardFacts, DataFacts, Origin, license_notice, licenses_of
from .origin import hub_id_of, listed, name_of
from .run import Run, RunNotes, card_facts

TEMPLATE = Path(__file__).with_name("template.md.jinja")
TAGS = ("structkd", "knowledge-distillation")
_KEYS = ("license", "library_name", "pipeline_tag", "base_model", "base_model_relation", "datasets", "tags")


def write_card(run: Run, notes: RunNotes | None = None, **overrides: Any) -> None:
    """Write the card of a run as `README.md` into its `output_dir`; call this on the main process.

    Args:
        run: Trainer of the run.
        notes: Facts that the trainer does not know.
        **overrides: Facts that replace those of the run, see `with_overrides`.
    """
    facts = with_overrides(card_facts(run, notes), **overrides)
    model_card(facts).save(Path(str(run.args.output_dir)) / "README.md")


def model_card(facts: CardFacts) -> ModelCard:
    """Render the card.

    `base_model` is the model from which the student's weights started, with the relation `finetune`, or
    `adapter` where the files hold adapters alone. The Hub draws its model tree from that key, and people
    judge licences by it. It has no relation for a teacher, whose weights are not in the student. A student
    from scratch therefore has no base model. The text names the teacher first. A teacher from the Hub is also
    the tag `teacher:<id>`, which finds its students there.

    Args:
        facts: Facts of the card. Validators refuse a score in the metadata that is not finite; the text
            shows it as "n/a".

    Returns:
        The card, without any token of the Hub.
    """
    card = ModelCard.from_template(_metadata(facts), str(TEMPLATE), **template_variables(facts))
    return ModelCard(redact_tokens(f"{card}\n"))  # Jinja drops a template's last newline


def template_variables(facts: CardFacts) -> dict[str, Any]:
    """Return the variables of the template: the facts, what follows from them, and the module `markdown`."""
    return {
        **vars(facts),
        # `from_template` has its own `card_data`, which does not keep the order of `_KEYS`.
        "metadata": _metadata(facts).to_yaml(original_order=list(_KEYS)),
        "of_teacher": {score.name: score.value for score in facts.teacher_scores},
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
    """Return the facts with the changes that a caller of `Trainer.create_model_card` asks for.

    Args:
        facts: Facts of the run.
        language: Language in the metadata.
        license: Licence that replaces the teacher's.
        tags: Tags in addition to those of the card.
        model_name: Title of the card.
        finetuned_from: Id or folder of the model from which the student's weights started.
        tasks: Tasks, of which the first becomes the pipeline tag.
        dataset_tags: Ids of datasets on the Hub; the scores belong to the first one.
        dataset: Name of the first dataset.
        dataset_args: Configuration of the first dataset.
    """
    changes: dict[str, Any] = {"language": language, "license": license, "name": model_name}
    changes["tags"] = (*facts.tags, *listed(tags))
    if finetuned_from is not None:
        changes |= {
            "student": Origin(name_of(finetuned_from), hub_id_of(finetuned_from)),
            "from_scratch": False,
        }
    if tasks and listed(tasks)[0] != facts.pipeline_tag:
        # The usage lines fit the answer of the run's own pipeline only.
        changes |= {"pipeline_tag": listed(tasks)[0], "usage": ""}
    ids, names, configs = listed(dataset_tags), listed(dataset), listed(dataset_args)
    if ids or names or configs:
        data = facts.data or DataFacts(source=Origin("unknown"))
        source = data.source._replace(name=[*names, *ids, data.source.name][0])
        if ids:
            source, changes["dataset_ids"] = Origin(source.name, ids[0]), tuple(ids)
        changes["data"] = data._replace(source=source, config=configs[0] if configs else data.config)
    return replace(facts, **{name: value for name, value in changes.items() if value is not None})


def _metadata(facts: CardFacts) -> ModelCardData:
    licenses = licenses_of(facts)
    # A student that continues from its own repository has no other model as its base.
    base = None if facts.from_scratch or facts.student.hub_id == facts.repo_id else facts.student.hub_id
    tags = [*TAGS, *facts.tags]
    if facts.teacher is not None and facts.teacher.hub_id is not None:
        tags.append(f"teacher:{facts.teacher.hub_id}")
    results = _eval_results(facts)
    return ModelCardData(
        license=licenses[0] if len(licenses) == 1 else list(licenses) or None,  # type: ignore[arg-type]
        library_name="peft" if facts.is_adapter else "transformers",
        pipeline_tag=facts.pipeline_tag,
        base_model=base,
        base_model_relation=None if base is None else "adapter" if facts.is_adapter else "finetune",
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
            # The Hub links the type to a dataset; a folder's name could link to somebody else's dataset.
            dataset_type=data.source.hub_id or "local",
            dataset_name=data.source.name,
            dataset_config=data.config,
            dataset_split=data.validation_split,
            dataset_revision=data.source.revision,
            metric_type=score.name,
            metric_name=score.label,
            metric_value=score.value,
        )
        for score in facts.scores
        if math.isfinite(score.value) and not score.of_agreement
    ]
