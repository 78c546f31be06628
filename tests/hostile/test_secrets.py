"""Nothing that is read can run code, and no source of ours reads what could."""

from __future__ import annotations

import ast
import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import hf_structkd
from hf_structkd.data.decoding import BadImageError, decode_depth
from hf_structkd.models.loading import load_teacher
from hf_structkd.tasks import SegmentationTask
from tests.cases import CASES, arguments, make_trainer
from tests.tiny_models import tiny_segmentation_model

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
        or given.get("trust_remote_code", "False") != "False"
        or given.get("allow_pickle", "False") != "False"
    )


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.stem)
def test_no_source_unpickles_or_runs_what_a_file_holds(source: Path) -> None:
    tree = ast.parse(source.read_text(encoding="utf-8"))
    assert [ast.unparse(node) for node in ast.walk(tree) if unsafe(node)] == []


def test_a_payload_in_weights_does_not_run(tmp_path: Path) -> None:
    """Weights in `.bin` are a pickle, and a teacher may come from anywhere."""
    ran, folder = tmp_path / "ran", tmp_path / "teacher"
    config = tiny_segmentation_model("segformer").config
    config.architectures = ["SegformerForSemanticSegmentation"]
    config.save_pretrained(folder)
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps(Payload(ran)))
    with pytest.raises(Exception):  # noqa: B017, PT011 - torch's own refusal, of several types
        load_teacher(folder, SegmentationTask)
    assert not ran.exists()


def test_a_payload_in_a_depth_map_does_not_run(tmp_path: Path) -> None:
    ran, path = tmp_path / "ran", tmp_path / "depth.npy"
    np.save(path, np.array([Payload(ran)], dtype=object), allow_pickle=True)
    with pytest.raises(BadImageError, match="allow_pickle=False"):
        decode_depth(str(path), where="row 0")
    assert not ran.exists()


def test_a_token_reaches_no_written_byte(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Checkpoints, weights and cards are pushed and shared."""
    token = "hf_" + "Secret7Token" * 3
    monkeypatch.setenv("HF_TOKEN", token)
    args = arguments(
        tmp_path, hub_token=token, save_strategy="steps", save_steps=1, max_steps=1, holistic_weight=0.0
    )
    trainer = make_trainer(CASES[0], args, rows=4)
    trainer.train()
    trainer.save_model()
    trainer.save_state()
    trainer.create_model_card()
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert {"training_args.bin", "README.md", "optimizer.pt"} <= {path.name for path in files}
    assert [path for path in files if token.encode() in path.read_bytes()] == []
