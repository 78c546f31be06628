"""Every command of `docs/hub.md`, in its order, against the loopback Hub."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from hf_structkd.hub.access import upload_command

from .. import hub_world
from ..hub_world import CASES, EXAMPLES, PROGRAMS, ROOT, SMALL
from ..loopback_hub import LoopbackHub, WarmClients

world = hub_world.world

DOC = (ROOT / "docs" / "hub.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```\w+\n(.*?)```", DOC, flags=re.DOTALL)
# As if typed into its prompt.
LOGIN = "hf auth login"


login, push, finish, read, pin, resume = BLOCKS


@dataclass(frozen=True)
class Reader:
    """Who types the commands of the page, in a folder of their own."""

    world: LoopbackHub
    folder: Path
    clients: WarmClients

    def run(self, text: str) -> str:
        """A block of the shell as a reader runs it, with USER for a name; what it printed."""
        text = text.replace("USER/", "user/")
        text = text.replace(LOGIN, f"{LOGIN} --token {self.world.user.write_token}")
        path = f"{PROGRAMS}{os.pathsep}{os.environ['PATH']}"
        done = subprocess.run(
            ["bash", "-euc", text],
            env=self.world.environment(home=self.folder / "home", PATH=path),
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=200,
        )
        assert done.returncode == 0, f"{text}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
        return done.stdout

    def run_warm(self, text: str, *flags: str) -> None:
        """The same, small; the script that the last command launches runs where all is imported already."""
        before, command = text.split("accelerate launch")
        self.run(before)
        words = shlex.split(command.replace("\\\n", "").replace("USER/", "user/"))
        self.read(EXAMPLES, json.dumps([*words, *SMALL, *flags]))

    def read(self, code: str, *arguments: str) -> None:
        """A block of Python."""
        run = self.clients.run(code.replace("USER/", "user/"), *arguments, cwd=self.folder)
        assert run.returncode == 0, run.stderr[-4000:]

    def fill(self, *, swapped: bool = False) -> None:
        """Put teacher and data on the Hub; swapped, neither can be used from its main branch."""
        root = self.world.home.parents[1]
        teacher, data = root / "teachers" / "seg", root / "data"
        self.world.put_model("user/teacher", data if swapped else teacher)
        self.world.put_dataset("user/dataset", teacher if swapped else data)


# The commands build on each other: each fixture is what the one before it left behind.


@pytest.fixture(scope="module")
def reader(world: LoopbackHub, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reader]:
    folder = tmp_path_factory.mktemp("reader")
    (folder / "examples").symlink_to(ROOT / "examples")
    CASES[0].student().config.save_pretrained(folder / "configs" / "student")
    with WarmClients(world, home=folder / "home") as clients:
        reader = Reader(world, folder, clients)
        reader.fill()
        world.tag("user/teacher", "v1.0")
        world.tag("user/dataset", "v1.0", kind="datasets")
        yield reader


@pytest.fixture(scope="module")
def greeting(reader: Reader) -> str:
    """What the login prints; from here on the reader may write."""
    return reader.run(login)


@pytest.fixture(scope="module")
def after_push(reader: Reader, greeting: str) -> Reader:
    reader.run_warm(push, "--save_steps", "1", "--hub_always_push", "true")
    return reader


@pytest.fixture(scope="module")
def after_pin(after_push: Reader) -> set[str]:
    """The revisions that a distillation from tags asks for."""
    world = after_push.world
    after_push.fill(swapped=True)
    before = len(world.requests())
    after_push.run_warm(pin)
    asked = {seen.request.path for seen in world.requests()[before:]}
    after_push.fill()
    return {found[1] for path in asked if (found := re.search(r"/resolve/([^/]+)/", path))}


def test_the_login_is_one_of_the_user(greeting: str) -> None:
    assert "user" in greeting


def test_the_push_brings_student_card_and_checkpoint(after_push: Reader) -> None:
    files = set(after_push.world.files("user/student"))
    assert {"README.md", "model.safetensors", "last-checkpoint/critic.safetensors"} <= files


def test_the_command_that_finishes_a_push_is_the_one_that_the_error_prints(after_push: Reader) -> None:
    """And it may be run again: files that are on the Hub are not sent once more."""
    command = finish.strip().replace("USER/", "user/")
    assert command == upload_command("user/student", "outputs/student")
    student = after_push.world.repo("user/student")
    pushed = len(student.commits)
    after_push.run(finish)
    assert len(student.commits) == pushed, "nothing was left to push"


def test_what_is_pushed_is_read_back(after_push: Reader) -> None:
    after_push.read(read)


def test_nothing_but_the_pinned_revisions_is_read(world: LoopbackHub, after_pin: set[str]) -> None:
    """Else a teacher that its owner replaces changes a student that names a tag."""
    assert "v1.0" in after_pin
    assert "main" not in after_pin
    assert world.repo("user/further").private


def test_a_run_is_resumed_from_its_pushed_checkpoint(after_push: Reader) -> None:
    after_push.run_warm(resume, "--save_steps", "1", "--max_steps", "3")
    resumed = after_push.folder / "outputs" / "resumed"
    assert (resumed / "checkpoint-3").is_dir()
    assert not (resumed / "checkpoint-2").exists(), "it began where it was stopped"
