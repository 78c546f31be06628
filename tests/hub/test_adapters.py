"""A student with adapters is pushed, its adapters kept or merged, and others load what was scored."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest
from huggingface_hub import ModelCard

from hf_structkd.tasks import SegmentationTask

from ..cases import SEGMENTATION
from ..hub_world import ROOT
from ..loopback_hub import LoopbackHub

# The one that trains is forked from the one that reads, which never imports `hf_structkd`.
CLIENT = """
import gc, json, os, re, sys
gc.disable()
import numpy as np, peft, torch, transformers
from huggingface_hub import ModelCard
from PIL import Image
from transformers import AutoModelForSemanticSegmentation

image = Image.fromarray(np.random.default_rng(0).integers(0, 255, (80, 100, 3), dtype=np.uint8))
image.save("image.png")
trainer = os.fork()
if trainer == 0:
    exec(sys.argv[1], {"__name__": "__main__"})
    sys.exit()
assert os.waitpid(trainer, 0)[1] == 0

found = {}
for name in ("adapters", "local", "merged"):
    base = AutoModelForSemanticSegmentation.from_pretrained("base")
    names = {"base": base}
    exec(re.search(r"```python\\n(.*?)```", ModelCard.load(f"user/{name}").text, re.DOTALL)[1], names)
    predictor = names["predictor"]
    pixels = predictor.image_processor(image, return_tensors="pt")
    with torch.no_grad():
        logits = predictor.model.eval()(**pixels).logits
    scored = torch.load(f"{name}.pt")
    found[name] = [list(pixels["pixel_values"].shape), (logits - scored).abs().max().item()]
found["from base"] = (torch.load("adapters.pt") - torch.load("base.pt")).abs().max().item()
found["imported"] = "hf_structkd" in sys.modules
print(json.dumps(found))
"""

TRAIN = """
import torch
from PIL import Image
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForSemanticSegmentation
from hf_structkd.tasks import SegmentationTask
from tests.cases import SEGMENTATION, arguments, make_trainer, narrow_critics

narrow = narrow_critics()
narrow.__enter__()

def scored(model, processor, name):
    with torch.no_grad():
        logits = model.eval()(**processor(Image.open("image.png"), return_tensors="pt")).logits
    torch.save(logits, f"{name}.pt")

def train(base, name):
    student = AutoModelForSemanticSegmentation.from_pretrained(base)
    processor = SegmentationTask.image_processor((64, 64), student.config)
    scored(student, processor, "base")
    attention = ["query", "value", "q_proj", "v_proj"]
    lora = LoraConfig(r=2, target_modules=attention, modules_to_save=["decode_head"])
    pushing = {"push_to_hub": True, "hub_model_id": f"user/{name}", "report_to": "none"}
    args = arguments(name, max_steps=1, learning_rate=1e-2, **pushing)
    student = get_peft_model(student, lora)
    trainer = make_trainer(SEGMENTATION, args, student=student, processing_class=processor)
    trainer.train()
    trainer.push_to_hub()
    scored(trainer.model, processor, name)
    return trainer, processor

train("base", "local")
trainer, processor = train("user/base", "adapters")

# The base on the Hub has other classes than the student.
classes = trainer.model.config.id2label
trainer.model.config.id2label = {index: f"class {index}" for index in classes}
trainer.args.hub_model_id, trainer.hub_model_id = "user/renamed", None
trainer.push_to_hub()
trainer.model.config.id2label = classes

# Merged into a folder and a repository that hold the adapters already.
trainer.args.hub_model_id, trainer.hub_model_id = "user/merged", None
trainer.push_to_hub()
trainer.model = trainer.model.merge_and_unload()
trainer.push_to_hub()
scored(trainer.model, processor, "merged")
"""


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LoopbackHub]:
    """A Hub with a base, whose image processor has another size than the student's."""
    folder = tmp_path_factory.mktemp("adapters")
    base = SEGMENTATION.student(0)
    base.save_pretrained(folder / "base")
    SegmentationTask.image_processor((32, 32), base.config).save_pretrained(folder / "base")
    with LoopbackHub(folder) as hub:
        hub.put_model("user/base", folder / "base")
        yield hub
        assert not hub.crashes


@pytest.fixture(scope="module")
def found(hub: LoopbackHub, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What a process that never imports the library makes of each card's snippet."""
    path = f"{ROOT}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"
    cwd = hub.home.parent
    run = hub.run_client(["-c", CLIENT, TRAIN], token=hub.user.write_token, cwd=cwd, PYTHONPATH=path)
    answer: dict[str, Any] = run.answer()
    return answer


KEPT = {"adapter_config.json", "adapter_model.safetensors"}
MERGED = {"config.json", "model.safetensors"}


@pytest.mark.parametrize(("name", "weights"), [("adapters", KEPT), ("local", KEPT), ("merged", MERGED)])
def test_the_snippet_of_the_card_loads_what_was_scored(
    hub: LoopbackHub, found: dict[str, Any], name: str, weights: set[str]
) -> None:
    """A pipeline takes the image processor of the base, and where adapters lie beside a student, its base."""
    files = set(hub.files(f"user/{name}"))
    assert weights | {"README.md", "preprocessor_config.json"} <= files
    assert files.isdisjoint((KEPT | MERGED) - weights)
    size, distance = found[name]
    assert size == [1, 3, 64, 64]
    assert distance < 1e-5 < found["from base"]
    assert not found["imported"]


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("adapters", "which `transformers` loads by itself if `peft` is installed."),
        ("local", "load the `SegformerForSemanticSegmentation` that they were trained on (`base`), with"),
        ("renamed", "(https://huggingface.co/user/base)), with the student's classes, as `base`, and"),
    ],
)
def test_the_card_says_how_the_base_is_found(
    hub: LoopbackHub, found: dict[str, Any], name: str, sentence: str
) -> None:
    """Of a base with as many other classes a pipeline would answer in the base's names."""
    card = ModelCard(hub.read(f"user/{name}", "README.md").decode())
    assert sentence in card.text
    assert ("PeftModel" in card.text) == (name != "adapters")
    assert card.data.library_name == "peft"
    assert card.data.get("base_model_relation") == (None if name == "local" else "adapter")
