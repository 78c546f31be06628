"""Every command of `docs/hub.md`, in its order, against the loopback Hub."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from pathlib import Path

from hf_structkd.hub.access import upload_command

from .. import hub_world
from ..hub_world import CASES, PROGRAMS, ROOT, SMALL
from ..loopback_hub import LoopbackHub

world = hub_world.world

DOC = (ROOT / "docs" / "hub.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", DOC, flags=re.DOTALL)
# As if typed into its prompt.
LOGIN = "hf auth login"


def run(world: LoopbackHub, folder: Path, language: str, text: str, *flags: str) -> str:
    """A block as a reader runs it, with USER for a name, and small; what it printed."""
    text = text.replace("USER/", "user/").replace(LOGIN, f"{LOGIN} --token {world.user.write_token}")
    if "accelerate launch" in text:
        text = f"{text.rstrip()} {shlex.join([*SMALL, *flags])}"
    program = ["bash", "-euc"] if language == "bash" else ["python", "-c"]
    path = f"{PROGRAMS}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        [*program, text],
        env=world.environment(home=folder / "home", PATH=path),
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert done.returncode == 0, f"{text}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
    return done.stdout


def test_every_command_of_the_documentation_runs(world: LoopbackHub, tmp_path: Path) -> None:
    """They build on each other: what is pushed is read back, tagged, distilled further and resumed."""
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    CASES[0].student().config.save_pretrained(tmp_path / "configs" / "student")
    root = world.home.parents[1]
    world.put_model("user/teacher", root / "teachers" / "seg")
    world.put_dataset("user/dataset", root / "data")
    world.tag("user/teacher", "v1.0")
    world.tag("user/dataset", "v1.0", kind="datasets")
    login, push, finish, read, pin, resume = BLOCKS

    assert "user" in run(world, tmp_path, *login)

    run(world, tmp_path, *push, "--save_steps", "1", "--hub_always_push", "true")
    files = set(world.files("user/student"))
    assert {"README.md", "model.safetensors", "last-checkpoint/critic.safetensors"} <= files
    pushed = len(world.repo("user/student").commits)

    command = finish[1].strip().replace("USER/", "user/")
    assert command == upload_command("user/student", "outputs/student")
    run(world, tmp_path, *finish)
    assert len(world.repo("user/student").commits) == pushed, "nothing was left to push"

    run(world, tmp_path, *read)

    # Nothing but the tagged revisions can be used.
    world.put_model("user/teacher", root / "data")
    world.put_dataset("user/dataset", root / "teachers" / "seg")
    before = len(world.requests())
    run(world, tmp_path, *pin)
    asked = {seen.request.path for seen in world.requests()[before:]}
    revisions = {found[1] for path in asked if (found := re.search(r"/resolve/([^/]+)/", path))}
    assert "v1.0" in revisions
    assert "main" not in revisions
    assert world.repo("user/further").private

    world.put_model("user/teacher", root / "teachers" / "seg")
    world.put_dataset("user/dataset", root / "data")
    run(world, tmp_path, *resume, "--save_steps", "1", "--max_steps", "3")
    assert (tmp_path / "outputs" / "resumed" / "checkpoint-3").is_dir()
    assert not (tmp_path / "outputs" / "resumed" / "checkpoint-2").exists(), "it began where it was stopped"
