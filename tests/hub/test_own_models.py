"""A wrapped network is pushed with its code, during training and by hand, and a pipeline reads it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ..hub_world import ROOT
from ..loopback_hub import LoopbackHub

PUSH = """
import json
import torch
from tests.cases import SEGMENTATION, arguments, make_trainer
from tests.models.test_wrapping import segmenter

pushing = {"push_to_hub": True, "hub_model_id": "user/trained", "hub_always_push": True, "report_to": "none"}
args = arguments("trained", save_strategy="steps", save_steps=1, max_steps=1, holistic_weight=0.0, **pushing)
trainer = make_trainer(SEGMENTATION, args, student=segmenter(), teacher=segmenter(8))
trainer.train()
by_hand = segmenter()
by_hand.push_to_hub("user/by-hand")
torch.save({name: model.eval()(torch.ones(1, 3, 64, 64)).logits.detach()
    for name, model in {"trained": trainer.model, "by-hand": by_hand}.items()}, "expected.pt")
print(json.dumps(None))
"""

READ = """
import json, sys
import PIL.Image, torch
from transformers import pipeline

expected = torch.load("expected.pt")
labels = {}
for name, logits in expected.items():
    predict = pipeline("image-segmentation", model=f"user/{name}", trust_remote_code=True)
    same = torch.allclose(predict.model(torch.ones(1, 3, 64, 64)).logits, logits, atol=1e-5)
    labels[name] = [same, [part["label"] for part in predict(PIL.Image.new("RGB", (80, 50)))]]
assert "hf_structkd" not in sys.modules
print(json.dumps(labels))
"""


@pytest.mark.long
def test_a_wrapped_network_goes_to_the_hub_and_back(tmp_path: Path) -> None:
    """A push without the code leaves a repository that nobody can load."""
    with LoopbackHub(tmp_path / "hub") as hub:
        token = hub.user.write_token
        path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
        hub.run_client(PUSH, token=token, timeout=280, PYTHONPATH=path).answer()
        for name in ("trained", "by-hand"):
            files = set(hub.files(f"user/{name}"))
            assert {"modeling_wrapped.py", "structkd_module.py", "unet.py", "config.json"} <= files
        found = hub.run_client(READ, token=token, timeout=280).answer()
    assert all(same and labels for same, labels in found.values())
