"""The metadata at the head of a README: read, and checked as far as the Hub's own rules are known.

The real rules live on the Hub's servers only. Those here are the ones that its documentation and its refusals
show: https://huggingface.co/docs/hub/model-cards
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import yaml

HEAD = re.compile(r"\A---\r?\n(.*?)\r?\n---\s*(?:\n|\Z)", re.DOTALL)
REPO_ID = re.compile(r"[\w.-]+(/[\w.-]+)?", re.ASCII)
_LICENSES = """
afl-3.0 agpl-3.0 apache-2.0 apple-amlr apple-ascl artistic-2.0 bigscience-openrail-m bsd bsd-2-clause
bsd-3-clause bsl-1.0 c-uda cc cc-by-2.0 cc-by-3.0 cc-by-4.0 cc-by-nc-2.0 cc-by-nc-3.0 cc-by-nc-4.0
cc-by-nc-nd-3.0 cc-by-nc-nd-4.0 cc-by-nc-sa-3.0 cc-by-nc-sa-4.0 cc-by-nd-4.0 cc-by-sa-3.0 cc-by-sa-4.0
cc0-1.0 cdla-permissive-2.0 creativeml-openrail-m epl-2.0 eupl-1.1 gpl gpl-2.0 gpl-3.0 isc lgpl lgpl-2.1
lgpl-3.0 mit mpl-2.0 odbl openrail openrail++ osl-3.0 other pddl postgresql unknown unlicense wtfpl zlib
"""
LICENSES = frozenset(_LICENSES.split())
RELATIONS = frozenset({"adapter", "finetune", "merge", "quantized"})
LISTS = ("datasets", "base_model", "tags", "metrics", "language")
IDS = ("datasets", "base_model")


def read_metadata(readme: str) -> Any:
    """The YAML at the head of a README; `None` where there is none.

    Raises:
        yaml.YAMLError: It is not YAML.
    """
    head = HEAD.match(readme)
    return yaml.safe_load(head.group(1)) if head else None


def check_card(readme: str) -> tuple[list[str], list[str]]:
    """What is wrong with a README's metadata: (errors, which refuse a push, and warnings)."""
    try:
        metadata = read_metadata(readme)
    except yaml.YAMLError as error:
        return [f"bad YAML: {error}"], []
    if metadata is None:
        return [], ["empty or missing yaml metadata in repo card"]
    if not isinstance(metadata, dict):
        return ['"metadata" must be of type object'], []
    return list(_errors(metadata)), []


def _errors(metadata: dict[str, Any]) -> Iterator[str]:
    licenses = metadata.get("license", [])
    for name in licenses if isinstance(licenses, list) else [licenses]:
        if name not in LICENSES:
            yield f'"license" must be one of [{", ".join(sorted(LICENSES))}]'
    if metadata.get("base_model_relation", "finetune") not in RELATIONS:
        yield f'"base_model_relation" must be one of [{", ".join(sorted(RELATIONS))}]'
    for key in LISTS:
        yield from _list_errors(key, metadata.get(key, []))
    for key in ("pipeline_tag", "library_name"):
        if not isinstance(metadata.get(key, ""), str):
            yield f'"{key}" must be a string'
    if "model-index" in metadata:
        yield from _index_errors(metadata["model-index"])


def _list_errors(key: str, value: object) -> Iterator[str]:
    for position, item in enumerate(value if isinstance(value, list) else [value]):
        if not isinstance(item, str):
            yield f'"{key}[{position}]" must be a string'
        elif key in IDS and not REPO_ID.fullmatch(item):
            yield f'"{key}[{position}]" with value "{item}" is not valid. Use an id from the Hub.'


def _index_errors(index: object) -> Iterator[str]:
    if not isinstance(index, list):
        yield '"model-index" must be an array'
        return
    for row, model in enumerate(index):
        place = f"model-index[{row}]"
        yield from _missing(place, model, {"name": str, "results": list})
        results = model.get("results") if isinstance(model, dict) else None
        for column, result in enumerate(results if isinstance(results, list) else []):
            yield from _result_errors(f"{place}.results[{column}]", result)


def _result_errors(place: str, result: object) -> Iterator[str]:
    yield from _missing(place, result, {"task": dict, "metrics": list})
    if not isinstance(result, dict):
        return
    yield from _missing(f"{place}.task", result.get("task", {"type": ""}), {"type": str})
    if "dataset" in result:
        yield from _missing(f"{place}.dataset", result["dataset"], {"type": str, "name": str})
    metrics = result.get("metrics")
    for position, metric in enumerate(metrics if isinstance(metrics, list) else []):
        yield from _missing(f"{place}.metrics[{position}]", metric, {"type": str, "value": object})


def _missing(place: str, value: object, fields: dict[str, type]) -> Iterator[str]:
    if not isinstance(value, dict):
        yield f'"{place}" must be of type object'
        return
    for name, kind in fields.items():
        if value.get(name) is None:
            yield f'"{place}.{name}" is required'
        elif not isinstance(value[name], kind):
            yield f'"{place}.{name}" must be of type {kind.__name__}'
