"""The text of a model card, under its metadata."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping

from .facts import CardFacts, DataFacts, Origin, license_notice, licenses_of
from .scores import is_of_one_class, metric_label

_HUB = "https://huggingface.co"
_PAPER = "https://arxiv.org/abs/1903.04197"
_CITATION = """@article{liu2020structured,
  title   = {Structured Knowledge Distillation for Dense Prediction},
  author  = {Liu, Yifan and Shu, Changyong and Wang, Jingdong and Shen, Chunhua},
  journal = {IEEE Transactions on Pattern Analysis and Machine Intelligence},
  year    = {2020}
}"""
_TERMS = {
    "task": ("task", "the student's output with the labels (its own supervised loss)"),
    "pixel": ("pixel-wise", "the two outputs, pixel by pixel or query by query"),
    "pairwise": ("pair-wise", "how similar the places of a feature map are to one another"),
    "holistic": ("holistic", "whole outputs, which a critic tries to tell apart"),
}
_CAPTIONS = {
    "predictions": "Validation images, their labels and what every model makes of them",
    "classes": "Score of every class",
    "curves": "Terms and scores during the training",
}
# What each pipeline gives, used in two lines at most; a task that is not here has its answer printed.
_USES = {
    "image-segmentation": 'for part in predictor(image):\n    print(part["label"], part["mask"].size)',
    "depth-estimation": 'predictor(image)["depth"].save("depth.png")',
    "object-detection": (
        'for found in predictor(image):\n    print(found["label"], round(found["score"], 2), found["box"])'
    ),
}


def card_text(facts: CardFacts) -> str:
    """The card below its metadata, in Markdown."""
    sections = (
        f"# {_escaped(facts.name)}",
        _introduction(facts),
        f"## Usage\n\n{_usage(facts)}",
        _results(facts),
        _figures(facts),
        f"## Training\n\n{_training(facts)}",
        _terms(facts),
        _settings(facts.settings),
        _command(facts),
        f"## Licence\n\n{_license(facts)}",
        f"## Citation\n\nThe method:\n\n```bibtex\n{_CITATION}\n```",
    )
    return "\n\n".join(section for section in sections if section) + "\n"


def usage_snippet(facts: CardFacts) -> str:
    """Python that runs the student on a picture; nothing in it but the file's name is to be replaced."""
    imports = "from transformers import pipeline\n"
    if facts.needs_library:
        imports = f"import hf_structkd  # registers the student's backbone\n{imports}"
    model = json.dumps(facts.repo_id or facts.name, ensure_ascii=False)
    return (
        f'{imports}\nimage = "image.png"  # a file or a URL\n'
        f'predictor = pipeline("{facts.pipeline_tag}", model={model})\n'
        f"{_USES.get(facts.pipeline_tag, 'print(predictor(image))')}"
    )


def _introduction(facts: CardFacts) -> str:
    task = facts.pipeline_tag.replace("-", " ")
    kind = f"`{facts.architecture}` of {_millions(facts.parameters)} parameters for {task}"
    where = "" if facts.data is None else f" on {_link(facts.data.source, dataset=True)}"
    library = "`hf_structkd`"
    if facts.teacher is None:
        return f"{kind}, trained{where} without a teacher by {library}."
    return (
        f"{kind}, distilled{where} from the teacher {_link(facts.teacher)} by {library}: structured "
        f"knowledge distillation ([Liu et al., 2020]({_PAPER}))."
    )


def _results(facts: CardFacts) -> str:
    parts = ["## Results"]
    if facts.table is not None:
        parts += [facts.table, f"Measured {_scored_on(facts.data)}, times on {facts.hardware}."]
    if facts.metrics:
        scores = {name: _score(value) for name, value in facts.metrics.items()}
        labels = {name: _escaped(metric_label(name)) for name in scores}
        overall = {labels[name]: score for name, score in scores.items() if not is_of_one_class(name)}
        of_class = {labels[name]: score for name, score in scores.items() if is_of_one_class(name)}
        parts += [f"Every score of this student {_scored_on(facts.data)}, after {facts.steps:,} steps:"]
        parts += [_rows(("metric", "value"), overall)] if overall else []
        parts += [_folded("Every class", _rows(("metric", "value"), of_class))] if of_class else []
    return "\n\n".join(parts) if len(parts) > 1 else "## Results\n\nNot evaluated yet."


def _figures(facts: CardFacts) -> str:
    paths = {path.rpartition("/")[2].partition(".")[0]: path for path in facts.figures}
    return "\n\n".join(
        f"{caption}:\n\n![{caption}]({paths[name]})" for name, caption in _CAPTIONS.items() if name in paths
    )


def _usage(facts: CardFacts) -> str:
    code = f"```python\n{usage_snippet(facts)}\n```"
    if facts.needs_library:
        return f"The student stands on a backbone of `hf_structkd`, which must be installed.\n\n{code}"
    return code


def _training(facts: CardFacts) -> str:
    start = f"the weights of {_link(facts.student)}"
    if facts.from_scratch:
        named = f", configured by `{facts.student.name}`" if facts.student.name else ""
        start = f"random weights{named}"
    length = f"{facts.steps:,} steps of {facts.global_batch_size} images, {facts.epochs:.4g} epochs" + (
        f", {facts.train_seconds:,.0f} s" if facts.train_seconds is not None else ""
    )
    lines = {
        "Start": start,
        "Teacher": None
        if facts.teacher is None
        else f"{_link(facts.teacher)}, {facts.teacher_description}, frozen",
        "Data": "unknown" if facts.data is None else _data(facts.data),
        "Length": length,
        "Seed": str(facts.seed),
        "Hardware": f"{facts.hardware}, {facts.processes} process{'es' if facts.processes != 1 else ''}",
        "Versions": ", ".join(f"{name} {version}" for name, version in facts.versions.items()),
    }
    return "\n".join(f"- **{name}:** {text}" for name, text in lines.items() if text is not None)


def _data(data: DataFacts) -> str:
    text = _link(data.source, dataset=True)
    if data.config is not None:
        text += f", configuration `{data.config}`"
    for verb, split, images in (
        ("trained", data.train_split, data.train_images),
        ("scored", data.validation_split, data.validation_images),
    ):
        count = "" if images is None else f" ({images:,} images)"
        text += f"; {verb} on {'it' if split is None else f'`{split}`'}{count}"
    if data.unlabeled is not None:
        text += f"; among them images without labels of {_link(data.unlabeled, dataset=True)}"
    return text


def _scored_on(data: DataFacts | None) -> str:
    if data is None or data.validation_split is None:
        return "on the validation data"
    return f"on `{data.validation_split}` of {_link(data.source, dataset=True)}"


def _terms(facts: CardFacts) -> str:
    on = [term for term in _TERMS if facts.weights[term] > 0]
    off = [_TERMS[term][0] for term in _TERMS if term not in on]
    lines = ["| term | weight | what is compared |", "| --- | ---: | --- |"]
    lines += [f"| {_TERMS[term][0]} | {facts.weights[term]:g} | {_TERMS[term][1]} |" for term in on]
    note = f"\n\nSwitched off: {', '.join(off)}." if off else ""
    return "### Terms and weights\n\n" + "\n".join(lines) + note


def _settings(settings: Mapping[str, str]) -> str:
    if not settings:
        return ""
    printed = {f"`{name}`": value for name, value in settings.items()}
    return _folded("Every other setting", _rows(("setting", "value"), printed))


def _command(facts: CardFacts) -> str:
    return "" if facts.command is None else f"### Command\n\n```bash\n{facts.command}\n```"


def _license(facts: CardFacts) -> str:
    licenses = " and ".join(f"`{name}`" for name in licenses_of(facts))
    if facts.license is not None:
        text = f"{licenses}."
    elif licenses:
        owner = facts.student if facts.teacher is None else facts.teacher
        text = f"{licenses}, the licence of {_link(owner)}."
    else:
        text = "None is stated here."
    notice = license_notice(facts)
    return text if notice is None else f"{text} {_escaped(notice)}"


def _link(origin: Origin, *, dataset: bool = False) -> str:
    if origin.hub_id is None:
        return _escaped(origin.name) if origin.generated else f"`{origin.name}`"
    place = f"{_HUB}/{'datasets/' if dataset else ''}{origin.hub_id}"
    revision = "" if origin.revision is None else f" at `{origin.revision}`"
    return f"[{origin.name}]({place}){revision}"


def _rows(header: tuple[str, str], cells: Mapping[str, str]) -> str:
    rows: Iterable[tuple[str, str]] = (header, ("---", "---:"), *cells.items())
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows)


def _folded(title: str, content: str) -> str:
    return f"<details><summary>{title}</summary>\n\n{content}\n\n</details>"


def _score(value: float) -> str:
    """Three decimals, or three digits of what they would hide."""
    return f"{value:.3f}" if value == 0 or abs(value) >= 0.01 else f"{value:.3g}"


def _millions(count: int) -> str:
    return f"{count / 1e6:.2f} M" if count >= 10_000 else f"{count:,}"


def _escaped(text: str) -> str:
    """Text in which no underscore or star of a name turns into emphasis, and no angle into HTML."""
    for mark in "_*<[":
        text = text.replace(mark, f"\\{mark}")
    return text
