"""The README's way from two folders to a student on the Hub is walked as it is written, on small data."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest
import yaml
from transformers import SegformerConfig

from hf_structkd.cli.main import main
from hf_structkd.scenes.scenes import CLASS_NAMES, load_scenes
from hf_structkd.tasks import SegmentationTask

from .loopback_hub import LoopbackHub, fixtures
from .loopback_hub.cards import check_card
from .test_readme import README
from .tiny_models import tiny_segmentation_model

hub = fixtures.hub
SMALL = {"image_size": [32, 32], "num_train_epochs": 1, "use_cpu": True, "report_to": "none", "seed": 42}


def street(folder: Path) -> None:
    """Two folders and the names, as the README draws them."""
    for kind in ("images", "masks"):
        (folder / kind).mkdir(parents=True)
    rows = load_scenes(num_train=10, num_validation=1, height=32, width=32)["train"]
    for number, row in enumerate(rows):
        row["image"].save(folder / "images" / f"{number}.jpg")
        row["label"].save(folder / "masks" / f"{number}.png")
    (folder / "id2label.json").write_text(json.dumps(dict(enumerate(CLASS_NAMES))))


@pytest.mark.long
def test_the_walk_leads_to_report_file_and_pushed_card(
    hub: LoopbackHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is the first that a newcomer does, and often the last."""
    monkeypatch.chdir(tmp_path)
    street(tmp_path / "street")
    teacher = tiny_segmentation_model("segformer", id2label=dict(enumerate(CLASS_NAMES)))
    teacher.save_pretrained("TEACHER")
    SegmentationTask.image_processor((32, 32), SegformerConfig()).save_pretrained("TEACHER")
    settings = yaml.safe_load(re.search(r"```yaml\n(.*?)```", README, re.DOTALL)[1])  # type: ignore[index]
    Path("street.yaml").write_text(yaml.safe_dump({**settings, **SMALL}))
    walk = re.search(r"```bash\n(structkd doctor .*?)```", README, re.DOTALL)
    assert walk is not None
    *commands, upload = walk[1].strip().splitlines()
    for line in commands:
        program, *words = shlex.split(line)
        assert program == "structkd"
        monkeypatch.setattr("sys.argv", [program, *words])
        main()
    said = capsys.readouterr().out
    assert "labels, and the teacher's floor" in said
    assert "| distilled |" in said

    words = shlex.split(upload.replace("USER", "user"))
    run = hub.run_client(
        ["-m", "huggingface_hub.cli.hf", *words[1:]], token=hub.user.write_token, cwd=tmp_path, timeout=200
    )
    assert run.returncode == 0, run.stderr
    files = hub.files("user/street")
    assert {"README.md", "report.html", "model.safetensors", "onnx/model.onnx", "onnx/model.json"} <= {*files}
    assert not [name for name in files if name.startswith(("alone/", "checkpoint-"))]
    card = hub.read("user/street", "README.md").decode()
    assert check_card(card)[0] == []
    assert "](report.html)" in card
    assert "--teacher_model_name_or_path TEACHER" in card
