"""There and back: teachers and data by id, students pushed, and what is said where the Hub refuses.

Clients run in processes of their own against the loopback Hub, as `HF_ENDPOINT` is read at import. To import
torch and transformers costs most of their time, so that one process imports for all, and tries many things.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import ModelCard

from hf_structkd import StructKDTrainingArguments
from hf_structkd.data.loading import load_dataset_splits
from hf_structkd.hub.access import explained, hub_fault, reason, upload_command
from hf_structkd.models import load_teacher
from hf_structkd.tasks import DetectionTask, SegmentationTask

from .. import hub_world
from ..cli.test_examples import check_detection_pipeline, rows_of_table
from ..hub_world import CASES, EXAMPLES, PROGRAMS, ROOT, SMALL, Case
from ..loopback_hub import ClientRun, LoopbackHub, WarmClients

world = hub_world.world


@pytest.fixture(scope="module")
def clients(world: LoopbackHub) -> Iterator[WarmClients]:
    with WarmClients(world, path=str(ROOT)) as clients:
        yield clients


def example(name: str, *flags: str, prefix: str = "") -> str:
    """The command line of a task's example, two steps, pushing into `user/{prefix}{name}`, as JSON."""
    return json.dumps(
        [
            str(ROOT / "examples" / f"run_{name}_distill.py"),
            *("--teacher_model_name_or_path", f"user/{prefix}{name}-teacher"),
            *("--student_model_name_or_path", f"students/{name}"),
            *("--dataset_name", f"user/{prefix}scenes"),
            *("--output_dir", f"{prefix}{name}", "--push_to_hub", "--hub_model_id", f"user/{prefix}{name}"),
            *("--save_strategy", "no", *SMALL),
            *flags,
        ]
    )


def files_holding(folder: Path, text: str) -> list[str]:
    found = [p for p in folder.rglob("*") if p.is_file() and text.encode() in p.read_bytes()]
    return [path.relative_to(folder).as_posix() for path in found]


# ---- the round trip ----

READ_BACK = """
import hashlib, json, sys
import numpy as np, torch
from PIL import Image
from transformers import AutoImageProcessor, pipeline
import transformers

image = Image.fromarray(np.random.default_rng(0).integers(0, 255, (80, 100, 3), dtype=np.uint8))

def digest(value, hasher):
    if isinstance(value, dict):
        for key in sorted(value):
            hasher.update(key.encode())
            digest(value[key], hasher)
    elif isinstance(value, (list, tuple)):
        for part in value:
            digest(part, hasher)
    elif isinstance(value, torch.Tensor):
        hasher.update(value.numpy().tobytes())
    elif isinstance(value, Image.Image):
        hasher.update(value.tobytes())
    else:
        hasher.update(repr(value).encode())
    return hasher

def outputs(source, auto_model, task, options):
    model = getattr(transformers, auto_model).from_pretrained(source).eval()
    inputs = AutoImageProcessor.from_pretrained(source)(image, return_tensors="pt")
    with torch.no_grad():
        output = dict(model(**inputs))
    shapes = [list(value.shape) for value in output.values() if isinstance(value, torch.Tensor)]
    answer = pipeline(task, model=source)(image, **options)
    return shapes, len(answer), digest([output, answer], hashlib.sha256()).hexdigest()

image.save("image.png")
found = {}
for name, sources, snippet, *how in map(json.loads, sys.argv[1:]):
    found[name] = [outputs(source, *how) for source in sources]
    exec(snippet)
print(json.dumps(found))
"""


@dataclass(frozen=True)
class Trip:
    """Students that were trained by one process and read back by another.

    Attributes:
        run: The training.
        read: By name, what `from_pretrained` and `pipeline` make of it, from the Hub and from its folder:
            shapes, number of answers, digest.
    """

    run: ClientRun
    read: dict[str, list[list[Any]]]


def travel(
    hub: LoopbackHub,
    clients: WarmClients,
    names: dict[str, Case],
    *examples: str,
    token: str | None,
    reading: str | None,
) -> Trip:
    """Train and push, then read back with another token, running each card's snippet as it stands there."""
    run = clients.run(EXAMPLES, *examples, token=token)
    assert run.returncode == 0, run.stderr[-4000:]
    students = []
    for name, case in names.items():
        options = {"threshold": 0.0} if case.task is DetectionTask else {}
        (snippet, *_) = re.findall(r"```python\n(.*?)```", card_of(hub, name).text, flags=re.DOTALL)
        sources = [f"user/{name}", f"{hub.home.parent}/{name}"]
        students.append([name, sources, snippet, case.task.auto_model.__name__, case.task.name, options])
    read = clients.run(READ_BACK, *map(json.dumps, students), token=reading).answer()
    return Trip(run, read)


def card_of(hub: LoopbackHub, name: str) -> ModelCard:
    return ModelCard(hub.read(f"user/{name}", "README.md").decode())


PUBLIC = {case.name: case for case in (CASES[0], CASES[2])}


@pytest.fixture(scope="module")
def public_trip(world: LoopbackHub, clients: WarmClients, sentences: object) -> Trip:
    """With the token on the command line, from where upstream writes it into a file that it pushes."""
    token = ("--hub_token", world.user.write_token)
    examples = (example(name, *token) for name in PUBLIC)
    return travel(world, clients, PUBLIC, *examples, token=None, reading=None)


@pytest.mark.parametrize("name", PUBLIC)
def test_a_student_makes_the_round_trip(world: LoopbackHub, public_trip: Trip, name: str) -> None:
    """Else what was scored here is not what others download."""
    check_round_trip(world, PUBLIC[name], name, public_trip)
    if PUBLIC[name].task is DetectionTask:
        assert "figures/classes.png" in world.files(f"user/{name}")
        check_detection_pipeline(world.home.with_name(name))


@pytest.mark.usefixtures("sentences")
def test_a_private_student_makes_the_round_trip(world: LoopbackHub, clients: WarmClients) -> None:
    """Teacher, data and student are there for their owner only, who names the token in the environment."""
    case = CASES[1]
    name = f"secret-{case.name}"
    options = ("--hub_private_repo", "true", "--compare_baseline")
    started = example(case.name, *options, prefix="secret-")
    user = world.user
    tokens = {"token": user.write_token, "reading": user.read_token}
    trip = travel(world, clients, {name: case}, started, **tokens)
    check_round_trip(world, case, name, trip)
    assert world.repo(f"user/{name}").private
    assert (world.home.parent / name / "alone" / "model.safetensors").is_file()
    assert rows_of_table(trip.run.stdout) == ["teacher", "alone", "distilled"]


def check_round_trip(world: LoopbackHub, case: Case, name: str, trip: Trip) -> None:
    assert f"The student is on the Hub: {world.url}/user/{name}" in trip.run.stdout
    wanted = {"README.md", "all_results.json", "config.json", "figures/curves.png", "figures/predictions.png"}
    wanted |= {"model.safetensors", "preprocessor_config.json", "training_args.bin"}
    pushed = world.files(f"user/{name}")
    assert wanted <= set(pushed)
    assert not [path for path in pushed if path.startswith(("alone/", "checkpoint-"))]
    check_card(card_of(world, name), case, name, pushed)
    from_hub, local = trip.read[name]
    assert from_hub == local
    assert from_hub[1] > 0
    secret = world.user.write_token
    assert world.holds(secret) == []
    assert files_holding(world.home.parent, secret) == []
    assert secret not in trip.run.stdout + trip.run.stderr


def check_card(card: ModelCard, case: Case, name: str, pushed: Collection[str]) -> None:
    """A card of stock says nothing: no scores, no teacher, no data."""
    data = card.data
    assert (data.pipeline_tag, data.library_name) == (case.task.name, "transformers")
    assert {"structkd", "knowledge-distillation"} < set(data.tags)
    assert f"teacher:user/{name}-teacher" in data.tags
    assert len(data.datasets) == 1
    assert len(data.eval_results) > 2
    figures = re.findall(r"!\[[^\]]*\]\(([^)]+)\)", card.text)
    assert {"figures/curves.png", "figures/predictions.png"} <= set(figures) <= set(pushed)
    assert "holistic" in card.text
    assert "--teacher_model_name_or_path" in card.text


# ---- what is refused before anything is trained ----

REFUSALS = """
import json, sys
import numpy as np, torch
from hf_structkd import StructKDTrainingArguments
from hf_structkd.data.loading import load_dataset_splits
from hf_structkd.hub import check_push, open_repository
from hf_structkd.models import load_student, load_teacher, student_image_processor
from hf_structkd.tasks import SegmentationTask, task_of

stranger, reader, writer = sys.argv[1:]

def said(call, *args, **kwargs):
    try:
        call(*args, **kwargs)
    except Exception as error:
        return [type(error).__name__, str(error)]
    return ["nothing", ""]

def teacher(name, **more):
    return said(load_teacher, name, SegmentationTask, **more)

def pushing(call, name, token=None, **more):
    options = {"use_cpu": True, "report_to": "none", "push_to_hub": True, "output_dir": "a run", **more}
    return said(call, StructKDTrainingArguments(hub_model_id=name, hub_token=token, **options))

def check(*args, **more):
    return pushing(check_push, *args, **more)

def create(*args, **more):
    return pushing(open_repository, *args, **more)

found = {
    "whoami fails": check("user/x", writer),
    "whoami hangs up": check("user/x", writer),
    "no token": check("user/x"),
    "no token, no push": check("user/x", push_to_hub=False),
    "wrong token": check("user/x", "hf_wrong"),
    "no name": check(None, writer),
    "read token, new": check("user/x", reader),
    "read token, old": check("user/seg-teacher", reader),
    "their namespace": check("stranger/x", writer),
    "their repo": check("stranger/public", writer),
    "their private repo": check("stranger/private", writer),
    "own name": check("x", writer),
    "own old repo": check("user/seg-teacher", writer),
    "create: no token": create("user/x"),
    "create: read token": create("user/x", reader),
    "create: read token, old": create("user/seg-teacher", reader),
    "create: their namespace": create("stranger/x", writer),
    "create: private, with branch": create("made", writer, hub_private_repo=True, hub_revision="dev"),
    "create: again": create("user/made", writer, hub_revision="dev"),
    "teacher missing": teacher("user/no"),
    "teacher misspelt": teacher("./outputs/no"),
    "teacher private": teacher("user/secret-seg-teacher", token=stranger),
    "teacher gated": teacher("user/gated"),
    "teacher gated, logged in": teacher("user/gated", token=stranger),
    "teacher revision": teacher("user/seg-teacher", revision="no"),
    "teacher wrong token": teacher("user/seg-teacher", token="hf_wrong", cache_dir="new"),
    "teacher of another task": teacher("user/depth-teacher"),
    "teacher fails": teacher("user/failing"),
    "teacher hangs up": teacher("user/hanging"),
    "teacher broken": teacher("user/empty"),
    "teacher forbidden": teacher("user/forbidden"),
    "teacher is a page": teacher("user/page"),
    "student missing": said(load_student, "user/no", SegmentationTask),
    "student processor": said(student_image_processor, "user/no", SegmentationTask, (64, 64)),
    "model missing": said(task_of, "user/no"),
    "data missing": said(load_dataset_splits, "user/no"),
    "data private": said(load_dataset_splits, "user/secret-scenes", token=stranger),
    "data gated": said(load_dataset_splits, "user/gated-scenes", token=stranger),
    "data revision": said(load_dataset_splits, "user/scenes", revision="no"),
    "data wrong token": said(load_dataset_splits, "user/scenes", token="hf_wrong", cache_dir="new"),
    "data hangs up": said(load_dataset_splits, "user/hanging"),
    "unlabelled data": said(load_dataset_splits, "user/no", argument="unlabeled_dataset_name"),
}
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def sentences(world: LoopbackHub, clients: WarmClients) -> dict[str, tuple[str, str]]:
    """What each case is told, while nothing is in the caches: type and text of the error."""
    teachers = world.home.parents[1] / "teachers"
    world.put_model("user/gated", teachers / "seg", gated=True)
    world.put_model("user/failing", teachers / "seg")
    world.put_model("user/hanging", teachers / "seg")
    world.put_model("user/empty", world.home.parents[1] / "data")
    page = world.home.with_name("page")
    page.mkdir()
    (page / "config.json").write_text("<html>Log in to this network</html>")
    world.put_model("user/page", page)
    world.put_model("user/forbidden", teachers / "seg")
    world.fail("GET HEAD", "/user/forbidden/", 403, times=9)
    world.put_model("stranger/public", teachers / "seg")
    world.put_model("stranger/private", teachers / "seg", private=True)
    world.put_dataset("user/gated-scenes", world.home.parents[1] / "data", gated=True)
    world.put_dataset("user/hanging", world.home.parents[1] / "data")
    world.fail("GET", "/whoami-v2", 500)
    world.hang_up("GET", "/whoami-v2")
    world.fail("GET", "/resolve-cache/models/user/failing/", 500, times=9)
    world.hang_up("HEAD", "/user/hanging/", times=9)
    tokens = (world.stranger.read_token, world.user.read_token, world.user.write_token)
    found = clients.run(REFUSALS, *tokens).answer()
    world.clear_faults()
    return {name: (kind, text.replace(world.url, "HUB")) for name, (kind, text) in found.items()}


LOGIN = "log in with `hf auth login`"
KINDS = {
    "nothing": (
        *("own name", "own old repo", "no token, no push"),
        *("create: private, with branch", "create: again"),
    ),
    "ConnectionError": (
        *("whoami fails", "whoami hangs up", "teacher fails", "teacher hangs up", "data hangs up"),
    ),
}


SENTENCES = {
    "no token": f"`push_to_hub` needs a token that may write, and there is none; {LOGIN}, or set HF_TOKEN.",
    "wrong token": "the Hub does not know the token for 'user/x': it is mistyped or no longer valid",
    "no name": "`hub_model_id` must be USER/NAME of letters, digits, '-', '_' and '.', got 'a run'.",
    "read token, new": "yours may only read; make one on HUB/settings/tokens",
    "read token, old": "your token may not write to 'user/seg-teacher'",
    "their namespace": "got 'stranger/x' for the user 'user'; write user/x.",
    "their repo": "your token may not write to 'stranger/public'",
    "their private repo": "got 'stranger/private' for the user 'user'; write user/private.",
    "whoami fails": "could not be checked: the Hub answered 500 Internal Server Error",
    "whoami hangs up": "could not be checked: the Hub could not be reached (RemoteProtocolError)",
    "no token, no push": "",
    "own name": "",
    "own old repo": "",
    "create: no token": "the Hub does not know the token for 'user/x'",
    "create: read token": "your token may not write to 'user/x'",
    "create: read token, old": "your token may not write to 'user/seg-teacher'",
    "create: their namespace": "your token may not write to 'stranger/x'",
    "create: private, with branch": "",
    "create: again": "",
    "teacher missing": (
        "`teacher_model` must be a folder, or a model on the Hub that you may read, got 'user/no'; "
        f"check the spelling, and {LOGIN} if it is private."
    ),
    "teacher misspelt": "`teacher_model` must be a folder, or a model on the Hub",
    "teacher private": "that you may read, got 'user/secret-seg-teacher'",
    "teacher gated": f"`teacher_model` 'user/gated' is gated; ask for access on HUB/user/gated, and {LOGIN}.",
    "teacher gated, logged in": "`teacher_model` 'user/gated' is gated",
    "teacher revision": "`teacher_model` 'user/seg-teacher' has no revision 'no'; name one of its branches",
    "teacher wrong token": "the Hub does not know the token with which `teacher_model` 'user/seg-teacher'",
    "teacher of another task": "`teacher_model` must be a model for image-segmentation",
    "teacher fails": "could not be read: the Hub answered 500 Internal Server Error",
    "teacher hangs up": "`teacher_model` 'user/hanging' is no folder and not in the cache",
    "teacher broken": "Unrecognized model in user/empty",
    "teacher forbidden": "`teacher_model` 'user/forbidden' may not be read with your token",
    "teacher is a page": "`teacher_model` user/page cannot be loaded",
    "student missing": "the student must be a folder, or a model on the Hub",
    "student processor": "the student must be a folder, or a model on the Hub",
    "model missing": "`model` must be a folder, or a model on the Hub",
    "data missing": "must be a folder, or a dataset on the Hub that you may read, got 'user/no'",
    "data private": "`dataset_name` must be a folder, or a dataset on the Hub",
    "data gated": "'user/gated-scenes' is gated; ask for access on HUB/datasets/user/gated-scenes",
    "data revision": "`dataset_name` 'user/scenes' has no revision 'no'",
    "data wrong token": "the Hub does not know the token with which `dataset_name` 'user/scenes' is read",
    "data hangs up": "`dataset_name` 'user/hanging' is no folder and not in the cache",
    "unlabelled data": "`unlabeled_dataset_name` must be a folder, or a dataset on the Hub",
}


def test_a_refusal_is_one_sentence(sentences: dict[str, tuple[str, str]]) -> None:
    """Before anything is trained, and with what to do."""
    assert sentences.keys() == SENTENCES.keys()
    wrong = {
        case: text for case, (_, text) in sentences.items() if SENTENCES[case] not in text or "\n" in text
    }
    assert not wrong
    kinds = {case: kind for kind, cases in KINDS.items() for case in cases}
    assert {case: kind for case, (kind, _) in sentences.items()} == dict.fromkeys(
        SENTENCES, "ValueError"
    ) | kinds


def test_a_check_changes_nothing_and_opening_makes_repository_and_branch(
    world: LoopbackHub, sentences: dict[str, tuple[str, str]]
) -> None:
    """Else a run that ends on its second check leaves an empty repository behind."""
    assert sentences["own name"] == ("nothing", "")
    for missing in ("user/x", "stranger/x"):
        with pytest.raises(KeyError):
            world.repo(missing)
    made = world.repo("user/made")
    assert made.private
    assert set(made.branches) == {"main", "dev"}


@pytest.mark.parametrize(
    ("load", "what"),
    [
        (lambda name: load_teacher(name, SegmentationTask), "teacher_model"),
        (load_dataset_splits, "dataset_name"),
    ],
    ids=["teacher", "data"],
)
def test_offline_it_is_said_where_the_cache_ends(load: Callable[[str], Any], what: str) -> None:
    """The tests run offline; an error that names no setting is looked for in the network."""
    sentence = f"`{what}` 'user/never' is no folder and not in the cache"
    with pytest.raises(ConnectionError, match=sentence) as caught:
        load("user/never")
    assert "HF_HUB_OFFLINE" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_error_of_ones_own_is_not_blamed_on_the_hub() -> None:
    error = OSError("cannot load.")
    error.__cause__ = PermissionError("cache is read-only")
    assert hub_fault(error) is None
    with pytest.raises(OSError, match="cannot load"), explained("`model`", "user/x"):
        raise error
    assert reason(error) == "cannot load"
    assert reason(KeyError()) == "KeyError"


# ---- what happens at the end, and in the background ----

PUSHES = """
import json, sys
from concurrent.futures import Future
from pathlib import Path
import torch
from huggingface_hub import snapshot_download
from transformers.utils.hub import PushInProgress
from hf_structkd.hub.pushing import PushError
from hf_structkd.cli.distil import train_teacher
from hf_structkd.cli.script_args import parse_run
from hf_structkd.tasks import SegmentationTask
from tests.cases import SEGMENTATION, StopAt, arguments, make_trainer, narrow_critics, state_of

narrow = narrow_critics()
narrow.__enter__()

def trainer_for(name, callback=None, **settings):
    saving = {"save_strategy": "steps", "save_steps": 1, "report_to": "none", "hub_always_push": True}
    pushing = {"push_to_hub": True, "hub_model_id": f"user/{name}", "hub_private_repo": False}
    args = arguments(name, **saving | pushing | settings)
    return make_trainer(SEGMENTATION, args, callbacks=[callback] if callback else [])

for strategy in ("end", "every_save", "checkpoint", "all_checkpoints"):
    trainer_for(strategy, hub_strategy=strategy).train()

# A run that is stopped after two of its four steps goes on elsewhere, from what it pushed.
long = {"max_steps": 4, "save_steps": 2, "hub_strategy": "checkpoint"}
trainer_for("stopped", StopAt(2), **long).train()
folder = snapshot_download("user/stopped", allow_patterns="last-checkpoint/*", local_dir="fetched")
resumed = trainer_for("resumed", **long)
resumed.train(resume_from_checkpoint=f"{folder}/last-checkpoint")
whole = trainer_for("whole", **long)
whole.train()
states = state_of(resumed), state_of(whole)
same = [torch.equal(states[0][name], states[1][name]) for name in states[1]]
has_critic = any(name.startswith("holistic.") for name in states[1])

# Only `hub_always_push` waits for a push that is still under way.
busy = trainer_for("busy", hub_strategy="every_save", hub_always_push=False, max_steps=1)
busy.push_in_progress = PushInProgress([Future()])
busy._push_from_checkpoint("nowhere")

try:
    trainer_for("x", hub_model_id="stranger/x")
except ValueError as error:
    refused = str(error)

# A teacher that is trained here is pushed too.
options = ["--student_model_name_or_path", "students/seg", "--max_train_samples", "4", *sys.argv[1:]]
options += ["--max_eval_samples", "2", "--output_dir", "taught", "--save_strategy", "no"]
options += ["--push_to_hub", "--hub_model_id", "user/taught"]
train_teacher(parse_run(SegmentationTask, options, scenes={}))

by_hand = trainer_for("by-hand", hub_model_id="stranger/x", push_to_hub=False)
try:
    by_hand.push_to_hub()
except PushError as error:
    late = str(error)

flaky = trainer_for("flaky", hub_strategy="every_save", hub_revision="dev")
trained = flaky.train().metrics
for name in ("alone/model.safetensors", "figures/curves.png", "_notes.txt"):
    path = Path("flaky", name)
    path.parent.mkdir(exist_ok=True)
    path.write_text("1")
answer = {"same": all(same), "has_critic": has_critic, "refused": refused, "late": late}
print(json.dumps({**answer, "trained": sorted(trained)}), flush=True)
flaky.push_to_hub()
"""


@pytest.fixture(scope="module")
def pushes(world: LoopbackHub, clients: WarmClients) -> ClientRun:
    """Trainers that push as `hub_strategy` says, and one to whom the Hub answers 500 to the end."""
    world.fail("POST", "/user/flaky/commit/", 500, times=3)
    return clients.run(PUSHES, *SMALL, token=world.user.write_token)


def answer(run: ClientRun) -> dict[str, Any]:
    """What it printed last, though it ends in an error."""
    assert run.stdout, run.stderr[-4000:]
    printed: dict[str, Any] = json.loads(run.stdout.splitlines()[-1])
    return printed


STUDENT = {"config.json", "model.safetensors", "training_args.bin"}


@pytest.mark.parametrize(
    ("strategy", "student", "folders"),
    [
        ("end", set(), set()),
        ("every_save", STUDENT, set()),
        ("checkpoint", STUDENT, {"last-checkpoint"}),
        ("all_checkpoints", STUDENT, {"checkpoint-1", "checkpoint-2"}),
    ],
)
def test_a_strategy_pushes_what_it_says(
    world: LoopbackHub, pushes: ClientRun, strategy: str, student: set[str], folders: set[str]
) -> None:
    """And the critic's weights lie in checkpoints only: beside the student's they would be taken for its."""
    files = set(world.files(f"user/{strategy}"))
    assert {path for path in files if "/" not in path} == student | {".gitattributes"}
    assert {path.split("/")[0] for path in files if "/" in path} == folders
    saved = {*STUDENT, "critic.safetensors", "optimizer.pt", "trainer_state.json", "structkd_settings.json"}
    assert all({f"{folder}/{name}" for name in saved} <= files for folder in folders)
    if student:
        folder = world.home.with_name(strategy)
        assert (
            world.read(f"user/{strategy}", "model.safetensors")
            == (folder / "checkpoint-2" / "model.safetensors").read_bytes()
        )


def test_a_pushed_checkpoint_is_resumed_bit_for_bit(pushes: ClientRun) -> None:
    """With the critic, without which a resumed run is another one."""
    found = answer(pushes)
    assert found["same"]
    assert found["has_critic"]


def test_a_trainer_is_refused_before_it_trains(pushes: ClientRun) -> None:
    assert "your token may not write to 'stranger/x'" in answer(pushes)["refused"]


def test_a_trainer_that_pushes_by_hand_is_refused_with_the_student_saved(
    world: LoopbackHub, pushes: ClientRun
) -> None:
    sentence, command = answer(pushes)["late"].splitlines()
    assert sentence.startswith("the student is saved in by-hand, but could not be pushed: your token may not")
    assert command == upload_command("stranger/x", "by-hand", private=False)
    assert (world.home.with_name("by-hand") / "model.safetensors").is_file()


def test_a_trained_teacher_is_pushed(world: LoopbackHub, pushes: ClientRun) -> None:
    assert {"model.safetensors", "preprocessor_config.json"} <= set(world.files("user/taught"))


def test_a_push_that_is_left_out_is_said(pushes: ClientRun) -> None:
    assert "Step 0 is not pushed: the push before it is still under way" in pushes.stderr


def test_a_failed_push_leaves_training_alone_and_is_reported(world: LoopbackHub, pushes: ClientRun) -> None:
    """Upstream swallows it: the user learns days later that nothing is on the Hub."""
    assert "train_loss" in answer(pushes)["trained"]
    cause = "the Hub answered 500 Internal Server Error"
    for step in (1, 2):
        assert f"The push at step {step} failed, training goes on: {cause}" in pushes.stderr
    assert f"2 of the pushes during training failed (step 1: {cause}" in pushes.stderr


def test_a_failed_last_push_ends_in_the_command_that_finishes_it(
    world: LoopbackHub, pushes: ClientRun
) -> None:
    """The student is on the disk, and what was not to be pushed is not pushed by the command either."""
    assert pushes.returncode == 1
    *_, sentence, command = pushes.stderr.strip().splitlines()
    assert (
        "PushError: the student is saved in flaky, but could not be pushed: the Hub answered 500" in sentence
    )
    assert command == upload_command("user/flaky", "flaky", revision="dev", private=False)
    folder = world.home.with_name("flaky")
    assert (folder / "model.safetensors").is_file()
    with pytest.raises(KeyError):
        world.read("user/flaky", "model.safetensors", "dev")
    program, *arguments = shlex.split(command)
    done = world.run_client([str(PROGRAMS / program), *arguments], token=world.user.write_token)
    assert done.returncode == 0, done.stderr
    pushed = set(world.files("user/flaky", "dev"))
    assert pushed == {".gitattributes", *STUDENT, "README.md", "figures/curves.png"}
    assert world.read("user/flaky", "model.safetensors", "dev") == (folder / "model.safetensors").read_bytes()


def test_a_command_is_safe_to_paste() -> None:
    command = upload_command("user/x", "a run's", private=True)
    exclude = ["--exclude", "_*", "--exclude", "checkpoint-*", "--exclude", "alone/*"]
    assert shlex.split(command) == ["hf", "upload", "user/x", "a run's", ".", *exclude, "--private"]


def test_arguments_are_printed_without_the_token(tmp_path: Path) -> None:
    """A dataclass of a dataclass has a `repr` of its own, which does not know that the token is one."""
    args = StructKDTrainingArguments(output_dir=str(tmp_path), use_cpu=True, hub_token="hf_secret")
    assert "hf_secret" not in f"{args!r} {args} {args.to_json_string()}"
