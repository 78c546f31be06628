"""Nothing that is read can run code, and no source of ours reads what could."""

from __future__ import annotations

import ast
import json
import os
import pickle
import re
import runpy
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import hf_structkd
from hf_structkd.data import load_depth_data, load_segmentation_data
from hf_structkd.teacher_cache.store import AnswerStore

from ..cases import SEGMENTATION, make_trainer, narrow_critics
from .inputs import (
    CONFIG,
    INDEX_FILE,
    MASK,
    PICKLE,
    PROCESSOR,
    WEIGHTS,
    Change,
    Place,
    checkpoint,
    model,
    processor,
    read,
    saved,
    saving,
    teacher,
)

SOURCES = sorted(Path(hf_structkd.__file__).parent.rglob("*.py"))


class Payload:
    """Makes a folder when it is unpickled."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.folder),)


def unsafe(node: ast.AST) -> bool:
    """Whether a node of the source may run what a file holds."""
    if isinstance(node, ast.Import | ast.ImportFrom):
        modules = [alias.name for alias in node.names] + [getattr(node, "module", None)]
        return any(module in ("pickle", "dill", "cloudpickle", "joblib", "shelve") for module in modules)
    if not isinstance(node, ast.Call):
        return False
    name, given = ast.unparse(node.func), {word.arg: ast.unparse(word.value) for word in node.keywords}
    return (
        name in ("eval", "exec", "yaml.load", "yaml.unsafe_load")
        or (name == "torch.load" and given.get("weights_only") != "True")
        or not is_the_users(given.get("trust_remote_code", "False"))
        or given.get("allow_pickle", "False") != "False"
    )


def is_the_users(trust: str) -> bool:
    """Whether code is trusted by nobody, or by the flag of the user, which is off by default (see below)."""
    return trust == "False" or trust.rpartition(".")[2] in ("trust_remote_code", "trusts_code")


def test_code_beside_weights_is_trusted_by_no_default() -> None:
    """A folder of the Hub would run what it likes."""
    text = "".join(source.read_text(encoding="utf-8") for source in SOURCES)
    defaults = re.findall(r"trusts?_(?:remote_)?code: bool(?: = (?:option\(\s*)?(\w+))?", text)
    assert set(defaults) <= {"False", ""}
    assert len(defaults) > 5


def test_no_source_unpickles_or_runs_what_a_file_holds() -> None:
    for source in SOURCES:
        tree = ast.parse(source.read_text(encoding="utf-8"))
        assert [ast.unparse(node) for node in ast.walk(tree) if unsafe(node)] == [], source


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("shared")


@pytest.fixture
def at(shared: Path, tmp_path: Path) -> Place:
    return Place(tmp_path, shared)


STATES = {
    "optimizer.pt": "optimizer.pt is damaged, or holds more than tensors",
    "scheduler.pt": "scheduler.pt is damaged",
    "scaler.pt": "scaler.pt is damaged",
    "rng_state.pth": "rng_state.pth is damaged",
    "rng_state_1.pth": "rng_state_1.pth is damaged",
    "critic_state.pt": "critic_state.pt is damaged",
    "critic.safetensors": "critic.safetensors is damaged",
    "term_mimic.safetensors": "term_mimic.safetensors is damaged",
    "model.safetensors": "model.safetensors is damaged",
    "adapter_model.bin": "adapter_model.bin is damaged",
    "pytorch_model.bin": "pytorch_model.bin is damaged",
    "structkd_settings.json": "its structkd_settings.json is missing, cut or no JSON",
    "structkd_manifest.json": "its structkd_manifest.json is missing or cut",
    "trainer_state.json": "its trainer_state.json, which is written last, is missing or cut",
}


def planted(name: str, ran: Path, save: Callable[[Any, Path], Any]) -> Change:
    """Put a payload in place of a file."""
    return lambda folder: save(Payload(ran), folder / name)


def pickled(value: Any, path: Path) -> None:
    path.write_bytes(pickle.dumps(value))


@pytest.mark.parametrize("save", [torch.save, pytest.param(pickled, marks=pytest.mark.long)])
@pytest.mark.parametrize("name", STATES)
def test_a_payload_in_a_checkpoint_does_not_run(name: str, save: Any, at: Place) -> None:
    """A checkpoint may come from anywhere, with a list of its files that fits."""
    ran = at.folder / "ran"
    with pytest.raises(ValueError, match=STATES[name]) as caught:
        checkpoint(planted(name, ran, save), listed=name != "structkd_manifest.json")(at)
    assert "\n" not in str(caught.value)
    assert not ran.exists()


def test_a_payload_that_nothing_reads_does_not_hinder_a_run(at: Place) -> None:
    ran = at.folder / "ran"

    def change(folder: Path) -> None:
        for name in ("training_args.bin", "cache.pkl", "README.md"):
            torch.save(Payload(ran), folder / name)

    checkpoint(change, listed=True)(at)
    assert not ran.exists()


@pytest.mark.parametrize("name", [WEIGHTS, PICKLE, CONFIG, INDEX_FILE, PROCESSOR, "adapter_config.json"])
def test_a_payload_in_a_model_folder_does_not_run(name: str, at: Place) -> None:
    """Weights in `.bin` are a pickle, and a teacher may come from anywhere."""
    ran = at.folder / "ran"

    def change(folder: Path) -> None:
        if name in (PICKLE, INDEX_FILE):
            (folder / WEIGHTS).unlink()
        torch.save(Payload(ran), folder / name)

    with pytest.raises(ValueError, match=r"cannot be loaded .*; check that its files") as caught:
        model(change, processor if name == PROCESSOR else teacher)(at)
    assert "\n" not in str(caught.value)
    assert not ran.exists()


@pytest.mark.parametrize("load", [load_depth_data, load_segmentation_data], ids=["depth", "labels"])
@pytest.mark.parametrize("end", ["npy", "npz", "png", "tiff", "pt"])
def test_a_payload_in_a_map_does_not_run(load: Any, end: str, at: Place) -> None:
    ran, path = at.folder / "ran", at.folder / f"map.{end}"
    with path.open("wb") as file:
        if end == "npy":
            np.save(file, np.array([Payload(ran)], dtype=object), allow_pickle=True)
        elif end == "npz":
            np.savez(file, value=np.array([Payload(ran)], dtype=object))
        else:
            torch.save(Payload(ran), file)
    column = "depth" if load is load_depth_data else "label"
    with pytest.raises(ValueError, match=r"image in row 0.* cannot be decoded") as caught:
        read(load, saved(at.folder / "data", column, str(path)))
    assert "\n" not in str(caught.value)
    assert not ran.exists()


@pytest.mark.parametrize("pattern", ["train/*.arrow", "train/state.json", "train/dataset_info.json"])
def test_a_payload_in_a_dataset_does_not_run(pattern: str, at: Place) -> None:
    ran, folder = at.folder / "ran", saved(at.folder / "data", "label", MASK)
    (path,) = folder.glob(pattern)
    torch.save(Payload(ran), path)
    with pytest.raises(ValueError, match=r"`dataset_name` .* cannot be loaded") as caught:
        read(load_segmentation_data, folder)
    assert "\n" not in str(caught.value)
    assert not ran.exists()


def test_a_payload_among_a_teachers_answers_does_not_run(tmp_path: Path, caplog: Any) -> None:
    torch.save(Payload(tmp_path / "ran"), tmp_path / "answers-0.safetensors")
    assert AnswerStore(tmp_path).get("row") is None
    assert "answers-0.safetensors cannot be read" in caplog.text
    assert not (tmp_path / "ran").exists()


TOKEN = "hf_" + "Secret7Token" * 3


def without_token(folder: Path, *names: str) -> None:
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert {"training_args.bin", "README.md", "optimizer.pt", *names} <= {path.name for path in files}
    assert [path for path in files if TOKEN.encode() in path.read_bytes()] == []


def test_a_token_reaches_no_written_byte(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Checkpoints, weights and cards are pushed and shared."""
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    trainer = make_trainer(SEGMENTATION, saving(tmp_path, hub_token=TOKEN, holistic_weight=0.0), rows=4)
    trainer.train()
    trainer.save_model()
    trainer.save_state()
    trainer.create_model_card()
    without_token(tmp_path)


@pytest.mark.long
@pytest.mark.parametrize("place", ["flag", "file"])
def test_a_token_on_the_command_line_reaches_no_written_byte(
    place: str, at: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The card shows the command, and the report and its figures are shared."""
    shutil.copytree(at.model, at.folder / "student")
    settings = {
        "teacher_model_name_or_path": str(at.model),
        "student_model_name_or_path": "student",
        "dataset_name": str(at.data),
        "output_dir": "out",
        "image_size": [32, 32],
        "max_steps": 1,
        "save_steps": 1,
        "compare_baseline": place == "file",
        "teacher_cache": "answers",
        "augmentation_views": 1,
        "use_cpu": True,
        "report_to": "none",
        "logging_steps": 1,
        "dataloader_pin_memory": False,
    }
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    if place == "file":
        settings["hub_token"] = TOKEN
    file = at.folder.with_name(f"{at.folder.name}.json")  # the user's own, which holds what they wrote
    file.write_text(json.dumps(settings))
    script = str(Path(__file__).parents[2] / "examples" / "run_seg_distill.py")
    argv = [script, str(file), *(["--hub_token", TOKEN] if place == "flag" else [])]
    monkeypatch.setattr(sys, "argv", argv)
    monkeypatch.chdir(at.folder)
    with narrow_critics():
        runpy.run_path(script, run_name="__main__")
    without_token(at.folder, "all_results.json", "curves.png")


def test_what_loggers_get_of_the_arguments_holds_no_token(tmp_path: Path) -> None:
    """TensorBoard's callback writes the first, and others the second."""
    args = saving(tmp_path, hub_token=TOKEN)
    assert TOKEN not in args.to_json_string() + str(args.to_sanitized_dict()) + str(args) + repr(args)
