"""The loopback Hub, as the untouched clients see it, and what those clients do when it fails.

The second half is the ground under everything that pushes: which failures huggingface_hub repeats by itself,
and which reach the caller. `HF_ENDPOINT` is read at import, so every client is a process of its own.
"""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import json
import random
import textwrap
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from ..loopback_hub import LoopbackHub, client, fixtures
from ..loopback_hub.cards import check_card
from ..loopback_hub.server import MAX_BODY

hub = fixtures.hub

PRELUDE = """
import gc, json
gc.disable()
from pathlib import Path
from huggingface_hub import HfApi, hf_hub_download, snapshot_download

api = HfApi()

def outcome(call, *args, **kwargs):
    try:
        call(*args, **kwargs)
    except Exception as error:
        return type(error).__name__
    return "done"

def contents(folder):
    paths = sorted(p for p in Path(folder).rglob("*") if p.is_file() and ".cache" not in p.parts)
    return {p.relative_to(folder).as_posix(): p.read_bytes().hex() for p in paths}
"""


def answer(hub: LoopbackHub, code: str, **settings: Any) -> Any:
    """What a client printed last, as JSON; it has `api`, `outcome` and `contents` at hand."""
    return hub.run_client(PRELUDE + textwrap.dedent(code), **settings).answer()


def ask(
    url: str,
    method: str,
    target: str,
    body: Any = None,
    headers: dict[str, str] | None = None,
    encode_chunked: bool = False,
) -> tuple[int, dict[str, str], bytes]:
    """One request without any client library: (status, headers by lower-case name, body)."""
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=20)
    try:
        connection.request(method, target, body, headers or {}, encode_chunked=encode_chunked)
        response = connection.getresponse()
        return response.status, {k.lower(): v for k, v in response.getheaders()}, response.read()
    finally:
        connection.close()


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def write_folder(folder: Path, files: dict[str, bytes]) -> Path:
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder


def noise(size: int) -> bytes:
    return random.Random(0).randbytes(size)


MODEL = {
    "README.md": b"---\nlicense: mit\ntags:\n- tiny\n---\n# Tiny\n",
    "config.json": b"{}\n",
    "figures/a curve.png": b"\x89PNG\r\n\x1a\n\0\0" + noise(100),
    "empty.bin": b"",
    "model.safetensors": noise(3000),
}


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return write_folder(tmp_path / "model", MODEL)


# Pushing and reading


def test_a_pushed_folder_comes_back_bit_by_bit(hub: LoopbackHub, model: Path) -> None:
    code = f"""
    url = api.create_repo("user/tiny", exist_ok=True)
    again = api.create_repo("user/tiny", exist_ok=True)
    commit = api.upload_folder(repo_id="user/tiny", folder_path={str(model)!r})
    folder = snapshot_download("user/tiny")
    info = api.model_info("user/tiny", files_metadata=True)
    large = [f.rfilename for f in info.siblings if f.lfs]
    read = [info.card_data.license, info.tags, info.sha == commit.oid, url == again]
    read += [outcome(api.create_repo, "user/tiny")]
    print(json.dumps([contents(folder), large, read]))
    """
    read_back, large, facts = answer(hub, code, token=hub.user.write_token)
    assert {name: bytes.fromhex(data) for name, data in read_back.items() if name in MODEL} == MODEL
    assert hub.files("user/tiny") == sorted([".gitattributes", *MODEL])
    assert all(hub.read("user/tiny", name) == data for name, data in MODEL.items())
    assert large == ["figures/a curve.png", "model.safetensors"]
    assert facts == ["mit", ["tiny"], True, True, "HfHubHTTPError"]
    assert all(seen.known for seen in hub.requests())


def test_the_token_goes_to_the_hub_only(hub: LoopbackHub, model: Path, tmp_path: Path) -> None:
    """The storage of large files belongs to somebody else; a token that is sent there is lost."""
    secret = write_folder(tmp_path / "secret", {"model.safetensors": b"another one"})
    hub.put_model("user/secret", secret, private=True)
    code = f"""
    api.create_repo("user/tiny", private=True)
    api.upload_folder(repo_id="user/tiny", folder_path={str(model)!r})
    snapshot_download("user/secret")
    print(json.dumps("done"))
    """
    token = hub.user.write_token
    assert answer(hub, code, token=token) == "done"
    stored = [seen for seen in hub.requests() if seen.place == "storage"]
    assert {(seen.request.method, seen.request.token) for seen in stored} == {("PUT", None), ("GET", None)}
    told = [seen.request.token for seen in hub.requests() if seen.place == "hub"]
    assert set(told) == {token}
    assert hub.holds(token) == []
    assert hub.holds("tiny") != []
    home = [path for path in hub.home.rglob("*") if path.is_file()]
    assert home
    assert not [path for path in home if token.encode() in path.read_bytes()]


def test_an_unchanged_push_makes_no_commit_and_a_changed_one_sends_what_changed(
    hub: LoopbackHub, model: Path
) -> None:
    first = hub.put_model("user/tiny", model)
    code = f"""
    folder = Path({str(model)!r})
    same = api.upload_folder(repo_id="user/tiny", folder_path=folder).oid
    (folder / "config.json").write_text("[]")
    new = api.upload_folder(repo_id="user/tiny", folder_path=folder).oid
    print(json.dumps([same, new, [c.commit_id for c in api.list_repo_commits("user/tiny")][:2]]))
    """
    same, new, history = answer(hub, code, token=hub.user.write_token)
    assert same == first
    assert history == [new, first]
    assert hub.read("user/tiny", "config.json") == b"[]"
    commits = hub.requests("POST", "/commit/main")
    assert len(commits) == 1
    lines = [json.loads(line) for line in commits[0].request.body.splitlines()]
    assert [line["value"].get("path") for line in lines] == [None, "config.json"]
    assert hub.requests("PUT") == []


def test_branches_tags_and_shas_stay_readable(hub: LoopbackHub, tmp_path: Path) -> None:
    folders = [write_folder(tmp_path / text, {"a/b.txt": text.encode()}) for text in ("1", "2", "3")]
    shas = [hub.put_model("user/tiny", folder) for folder in folders[:2]]
    hub.put_model("user/tiny", folders[2], branch="dev/x")
    hub.tag("user/tiny", "v1", shas[0])
    code = f"""
    api.create_tag("user/tiny", tag="v2", revision="dev/x")
    api.create_branch("user/tiny", branch="old", revision={shas[0]!r})
    taken = [outcome(api.create_tag, "user/tiny", tag="v2")]
    taken += [outcome(api.create_branch, "user/tiny", branch="old")]
    revisions = ["main", "v1", "dev/x", "v2", "old", {shas[0]!r}]
    texts = [Path(snapshot_download("user/tiny", revision=r), "a/b.txt").read_text() for r in revisions]
    refs = api.list_repo_refs("user/tiny")
    names = [r.name for r in refs.branches + refs.tags]
    listed = [type(e).__name__ + " " + e.path for e in api.list_repo_tree("user/tiny", "a")]
    paths = api.get_paths_info("user/tiny", ["a", "a/b.txt", "c"], expand=True)
    print(json.dumps([taken, texts, names, listed, [[p.path, p.last_commit.oid] for p in paths]]))
    """
    taken, texts, names, listed, paths = answer(hub, code, token=hub.user.write_token)
    assert taken == ["HfHubHTTPError"] * 2
    assert texts == ["2", "1", "3", "3", "1", "1"]
    assert names == ["main", "dev/x", "old", "v1", "v2"]
    assert listed == ["RepoFile a/b.txt"]
    assert paths == [["a", shas[1]], ["a/b.txt", shas[1]]]


def test_files_and_folders_are_deleted_in_one_commit_or_not_at_all(hub: LoopbackHub, model: Path) -> None:
    first = hub.put_model("user/tiny", model)
    code = f"""
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete
    def commit(*operations, **more):
        return api.create_commit("user/tiny", operations, commit_message="Change", **more)
    gone = outcome(commit, CommitOperationAdd("new.txt", b"1"), CommitOperationDelete("no.txt"))
    stale = outcome(commit, CommitOperationAdd("new.txt", b"1"), parent_commit="0" * 40)
    asked = outcome(commit, CommitOperationAdd("new.txt", b"1"), create_pr=True)
    other = outcome(commit, CommitOperationAdd("new.txt", b"1"), revision="no")
    commit(CommitOperationDelete("config.json"), CommitOperationDelete("figures/"), parent_commit={first!r})
    print(json.dumps([gone, stale, asked, other]))
    """
    assert answer(hub, code, token=hub.user.write_token) == [
        "RemoteEntryNotFoundError",
        "HfHubHTTPError",
        "BadRequestError",
        "RevisionNotFoundError",
    ]
    assert hub.files("user/tiny") == [".gitattributes", "README.md", "empty.bin", "model.safetensors"]
    assert "config.json" in hub.files("user/tiny", first)
    assert len(hub.repo("user/tiny").at("main").history()) == 3


# Refusals


def test_what_is_missing_raises_the_clients_own_error(hub: LoopbackHub, model: Path) -> None:
    hub.put_model("user/tiny", model)
    code = """
    def missing(name, file="config.json", **more):
        return outcome(hf_hub_download, name, file, **more)
    found = [missing("user/no"), missing("no"), missing("user/tiny", repo_type="dataset")]
    found += [missing("user/tiny", revision="no"), missing("user/tiny", revision="0" * 40)]
    found += [missing("user/tiny", "no.txt")]
    found += [outcome(snapshot_download, "user/no")]
    found += [outcome(snapshot_download, "user/tiny", revision="no")]
    found += [outcome(api.model_info, "user/no"), outcome(list, api.list_repo_tree("user/tiny", "no"))]
    cache = Path(hf_hub_download("user/tiny", "config.json")).parents[2]
    marks = [p.name for p in cache.glob(".no_exist/*/*")]
    print(json.dumps([found, marks]))
    """
    repo, revision, entry = "RepositoryNotFoundError", "RevisionNotFoundError", "RemoteEntryNotFoundError"
    found, marks = answer(hub, code, token=hub.user.write_token)
    assert found == [repo, repo, repo, revision, revision, entry, repo, revision, repo, entry]
    assert marks == ["no.txt"], "an absence that is not remembered is asked for again at every load"


def test_private_and_gated_repos_open_for_the_right_token_only(hub: LoopbackHub, model: Path) -> None:
    hub.put_model("user/private", model, private=True)
    hub.put_model("user/gated", model, gated=True)
    guest = hub.add_account("guest")
    hub.grant("user/gated", guest)
    tokens = [False, "hf_wrong", hub.stranger.read_token, guest.read_token, hub.user.read_token]
    code = f"""
    def reach(call, name):
        return [outcome(call, name, token=token) for token in {tokens!r}]
    def get(name, token):
        # An own cache each: a token that is refused is served what another one has fetched.
        hf_hub_download(name, "model.safetensors", token=token, cache_dir=f"cache of {{token}}")
    found = [reach(get, "user/private"), reach(get, "user/gated")]
    found += [reach(api.model_info, "user/gated"), reach(api.auth_check, "user/gated")]
    print(json.dumps(found))
    """
    missing, refused, gate = "RepositoryNotFoundError", "HfHubHTTPError", "GatedRepoError"
    private, gated, info, check = answer(hub, code)
    assert private == [missing, refused, missing, missing, "done"]
    assert gated == [gate, refused, gate, "done", "done"]
    assert info == ["done", refused, "done", "done", "done"]
    assert check == [gate, refused, gate, "done", "done"]


def test_writing_needs_the_owners_token_for_writing(hub: LoopbackHub, model: Path) -> None:
    hub.put_model("user/tiny", model)
    tokens = [False, "hf_wrong", hub.user.read_token, hub.stranger.write_token, hub.user.write_token]
    code = f"""
    tokens = {tokens!r}
    def status(call, *args, **more):
        try:
            call(*args, **more)
        except Exception as error:
            return error.response.status_code
    def write(call, *args, **more):
        return [status(call, *args, token=token, **more) for token in tokens]
    found = [write(api.create_repo, "user/new"), write(api.create_branch, "user/tiny", branch="b")]
    found += [write(api.create_commit, "user/tiny", [], commit_message="Nothing")]
    found += [write(api.auth_check, "user/tiny", write=True)]
    upload = dict(path_or_fileobj=b"1", path_in_repo="a.txt", repo_id="user/tiny")
    found += [[status(api.upload_file, **upload, token=token) for token in tokens]]
    found += [[api.whoami(token)["auth"]["accessToken"]["role"] for token in tokens[2:]]]
    found += [[status(api.whoami, token) for token in tokens[1:2]]]
    print(json.dumps(found))
    """
    *writes, roles, unknown = answer(hub, code)
    create, branch, nothing, check, upload = writes
    assert create == branch == check == upload == [401, 401, 403, 403, None]
    assert nothing == [None, 401, None, None, None]
    assert roles == ["read", "write", "write"]
    assert unknown == [401]


GOOD_CARD = """---
license: apache-2.0
library_name: transformers
pipeline_tag: image-segmentation
base_model: user/teacher
base_model_relation: finetune
datasets: [user/scenes]
model-index:
- name: student
  results:
  - task: {type: image-segmentation}
    dataset: {type: user/scenes, name: Scenes}
    metrics: [{type: mean_iou, value: 0.5}]
---
# Student
"""


def test_a_good_card_has_neither_errors_nor_warnings() -> None:
    assert check_card(GOOD_CARD) == ([], [])


@pytest.mark.parametrize(
    ("old", "new", "error"),
    [
        ("apache-2.0", "mine", '"license" must be one of'),
        ("apache-2.0", "[mit, mine]", '"license" must be one of'),
        ("finetune", "distil", '"base_model_relation" must be one of'),
        ("[user/scenes]", "[Our own scenes]", '"datasets[0]" with value "Our own scenes" is not valid'),
        ("[user/scenes]", "[null]", '"datasets[0]" must be a string'),
        ("base_model: user/teacher", "base_model: /tmp/teacher", '"base_model[0]" with value'),
        ("pipeline_tag: image-segmentation", "pipeline_tag: [a]", '"pipeline_tag" must be a string'),
        ("- name: student\n", "- \n", '"model-index[0].name" is required'),
        ("metrics: [{type: mean_iou, value: 0.5}]", "metrics: []\n    x: 1", None),
        (
            "    metrics: [{type: mean_iou, value: 0.5}]\n",
            "",
            '"model-index[0].results[0].metrics" is required',
        ),
        (", value: 0.5", "", '"model-index[0].results[0].metrics[0].value" is required'),
        (", name: Scenes", "", '"model-index[0].results[0].dataset.name" is required'),
        ("{type: image-segmentation}", "x", '"model-index[0].results[0].task" must be of type dict'),
        ("license: apache-2.0", "license: [apache", "bad YAML"),
    ],
)
def test_wrong_metadata_is_named(old: str, new: str, error: str | None) -> None:
    """The first refusal of the real Hub would otherwise come at the end of a training."""
    errors, warnings = check_card(GOOD_CARD.replace(old, new, 1))
    assert warnings == []
    assert errors == [] if error is None else error in errors[0]


def test_metadata_of_another_form_is_refused() -> None:
    assert check_card("---\n- a\n---\n")[0] == ['"metadata" must be of type object']
    assert check_card("---\nmodel-index: a\n---\n")[0] == ['"model-index" must be an array']
    assert check_card("---\nmodel-index: [a]\n---\n")[0] == ['"model-index[0]" must be of type object']
    missing = check_card("---\nmodel-index: [{name: a, results: [b]}]\n---\n")[0]
    assert missing == ['"model-index[0].results[0]" must be of type object']


def test_a_push_with_a_bad_card_is_refused_before_anything_is_sent(hub: LoopbackHub, model: Path) -> None:
    (model / "README.md").write_text(GOOD_CARD.replace("apache-2.0", "mine"))
    code = f"""
    import warnings
    from huggingface_hub import ModelCard
    card = Path({str(model)!r}, "README.md").read_text()
    ModelCard(card.replace("mine", "mit")).validate()
    try:
        ModelCard(card).validate()
    except ValueError as error:
        refused = str(error)
    api.create_repo("user/tiny")
    try:
        api.upload_folder(repo_id="user/tiny", folder_path={str(model)!r})
    except ValueError as error:
        pushed = str(error)
    with warnings.catch_warnings(record=True) as caught:
        api.upload_file(path_or_fileobj=b"# Bare", path_in_repo="README.md", repo_id="user/tiny")
    print(json.dumps([refused, pushed, [str(w.message) for w in caught]]))
    """
    refused, pushed, warned = answer(hub, code, token=hub.user.write_token)
    assert '"license" must be one of' in json.loads(refused)["errors"][0]["message"]
    assert pushed.startswith("Invalid metadata in README.md.\n-")
    assert any("empty or missing yaml metadata in repo card" in message for message in warned)
    assert hub.files("user/tiny") == [".gitattributes", "README.md"]
    assert hub.requests("PUT") == []


def test_a_commit_with_a_bad_card_is_refused_too(hub: LoopbackHub, model: Path) -> None:
    hub.put_model("user/tiny", model)
    lines = [
        {"key": "header", "value": {"summary": "Card"}},
        {"key": "file", "value": {"path": "README.md", "content": "LS0tCmxpY2Vuc2U6IG1pbmUKLS0tCg=="}},
    ]
    status, _, body = post_commit(hub, lines)
    assert status == 400
    assert b"license" in body


# The libraries on top; what this project uses of them is tried in test_hub.py


@pytest.mark.long
def test_a_dataset_makes_the_round_trip(hub: LoopbackHub, tmp_path: Path) -> None:
    table = write_folder(tmp_path / "data", {"train.csv": b"x,y\n1,a\n2,b\n"})
    hub.put_dataset("user/table", table)
    hub.put_dataset("user/private", table, private=True)
    code = """
    from datasets import Dataset, load_dataset
    first = Dataset.from_dict({"x": [1, 2, 3]}).push_to_hub("user/data", private=True)
    Dataset.from_dict({"x": [4, 5]}).push_to_hub("user/data")
    load = lambda **more: [row["x"] for row in load_dataset("user/data", split="train", **more)]
    outcomes = [outcome(load_dataset, "user/no"), outcome(load_dataset, "user/data", revision="no")]
    outcomes += [outcome(load_dataset, "user/private", token="hf_wrong")]
    outcomes += [outcome(load_dataset, "user/private", token=False)]
    loaded = [load(streaming=s, **more) for s in (False, True) for more in ({}, {"revision": first.oid})]
    table = load_dataset("user/table", split="train", token=False).to_dict()
    print(json.dumps([loaded, table, outcomes]))
    """
    loaded, table, outcomes = answer(hub, code, token=hub.user.write_token, USE_TORCH="0")
    assert loaded == [[4, 5], [1, 2, 3], [4, 5], [1, 2, 3]]
    assert table == {"x": [1, 2], "y": ["a", "b"]}
    missing = "DatasetNotFoundError"
    assert outcomes == [missing, missing, "HfHubHTTPError", missing]
    assert "data/train-00000-of-00001.parquet" in hub.files("user/data", kind="datasets")
    assert all(seen.known for seen in hub.requests())
    assert not [seen for seen in hub.requests() if seen.place == "storage" and seen.request.token]


@pytest.mark.long
def test_a_transformers_model_makes_the_round_trip(hub: LoopbackHub) -> None:
    code = """
    import torch
    from transformers import AutoModelForSemanticSegmentation, SegformerConfig
    config = SegformerConfig(
        depths=[1] * 4, hidden_sizes=[8, 8, 16, 16], num_attention_heads=[1, 1, 2, 2], decoder_hidden_size=16
    )
    model = AutoModelForSemanticSegmentation.from_config(config).eval()
    first = model.push_to_hub("user/student", private=True).oid
    image = torch.rand(1, 3, 32, 32)
    with torch.no_grad():
        before = model(image).logits
        model.decode_head.classifier.bias += 1
        model.push_to_hub("user/student")
        load = AutoModelForSemanticSegmentation.from_pretrained
        now, pinned = load("user/student"), load("user/student", revision=first)
        same = [torch.equal(now(image).logits, model(image).logits)]
        same += [torch.equal(pinned(image).logits, before)]
    outcomes = [outcome(load, "user/no"), outcome(load, "user/student", revision="no")]
    outcomes += [outcome(load, "user/student", token=t, cache_dir="new") for t in (False, "hf_wrong")]
    cached = outcome(load, "user/student", token="hf_wrong")
    print(json.dumps([same, outcomes, cached]))
    """
    same, outcomes, cached = answer(hub, code, token=hub.user.write_token)
    assert same == [True, True]
    assert outcomes == ["OSError"] * 4
    assert cached == "done", "with the model in the cache a wrong token is not noticed"
    assert all(seen.known for seen in hub.requests())
    assert not [seen for seen in hub.requests() if seen.place == "storage" and seen.request.token]
    assert hub.holds(hub.user.write_token) == []


# Failures on demand, and what the clients make of them


def test_the_client_raises_at_once_what_it_does_not_repeat(hub: LoopbackHub, model: Path) -> None:
    """A push that fails here has to be repeated by us."""
    hub.put_model("user/tiny", model)
    faults = [
        hub.fail("POST", "/repos/create", 500),
        hub.fail("GET", "/whoami-v2", 500),
        hub.fail("POST", "/validate-yaml", 500),
        hub.fail("POST", "/commit/main", 503),
        hub.fail("GET", "/resolve-cache/.*/config.json", 500),
        hub.fail("POST", "/preupload/dev", 401),
    ]
    code = """
    def upload(name, **more):
        card = b"---\\nlicense: mit\\n---\\n"
        api.upload_file(path_or_fileobj=card, path_in_repo=name, repo_id="user/tiny", **more)
    found = [outcome(api.create_repo, "user/new"), outcome(api.whoami), outcome(upload, "README.md")]
    found += [outcome(upload, "a.txt"), outcome(hf_hub_download, "user/tiny", "config.json")]
    found += [outcome(upload, "a.txt", revision="dev")]
    print(json.dumps(found))
    """
    assert answer(hub, code, token=hub.user.write_token) == ["HfHubHTTPError"] * 6
    assert [fault.hits for fault in faults] == [1] * 6
    assert len(hub.repo("user/tiny").commits) == 2


def test_an_upload_of_a_large_file_outlives_500_429_and_a_broken_connection(
    hub: LoopbackHub, tmp_path: Path
) -> None:
    """Each repetition costs a second or more: the waiting belongs to the client."""
    data = noise(2_000_000)
    folder = write_folder(tmp_path / "model", {"model.safetensors": data})
    batch = hub.fail("POST", "/objects/batch", 500)
    broken = hub.drop_upload("PUT", "/objects/", after=1000)
    busy = hub.fail("PUT", "/objects/", 429, retry_after=0)
    code = f"""
    api.create_repo("user/tiny")
    api.upload_folder(repo_id="user/tiny", folder_path={str(folder)!r})
    print(json.dumps("done"))
    """
    assert answer(hub, code, token=hub.user.write_token) == "done"
    assert [batch.hits, broken.hits, busy.hits] == [1, 1, 1]
    assert [seen.status for seen in hub.requests("PUT")] == [None, 429, 200]
    assert hub.read("user/tiny", "model.safetensors") == data


def test_a_broken_download_goes_on_where_it_stopped(hub: LoopbackHub, tmp_path: Path) -> None:
    """In whole pieces of 10 MiB: what came of the piece that broke is fetched again."""
    data = noise(12 * 2**20)
    hub.put_model("user/tiny", write_folder(tmp_path / "model", {"model.safetensors": data}))
    broken = hub.drop_download("GET", "filename=model.safetensors", after=11 * 2**20)
    code = """
    import hashlib
    path = hf_hub_download("user/tiny", "model.safetensors")
    print(json.dumps(hashlib.sha256(Path(path).read_bytes()).hexdigest()))
    """
    assert answer(hub, code) == hashlib.sha256(data).hexdigest()
    assert broken.hits == 1
    ranges = [seen.request.headers.get("range") for seen in hub.requests("GET", "/objects/")]
    assert ranges == [None, f"bytes={10 * 2**20}-"]


def test_a_lost_answer_to_a_commit_raises_though_the_commit_was_made(hub: LoopbackHub, model: Path) -> None:
    """To the client it looks like a commit that never arrived: only the Hub can tell the two apart."""
    hub.put_model("user/tiny", model)
    hub.lose_answer("POST", "/commit/main")
    hub.drop_upload("POST", "/commit/main", after=10)
    code = """
    def upload(name):
        api.upload_file(path_or_fileobj=b"1", path_in_repo=name, repo_id="user/tiny")
    made, dropped = outcome(upload, "made.txt"), outcome(upload, "dropped.txt")
    there = [api.file_exists("user/tiny", name) for name in ("made.txt", "dropped.txt")]
    upload("made.txt")
    print(json.dumps([made, dropped, there]))
    """
    made, dropped, there = answer(hub, code, token=hub.user.write_token)
    assert made == "RemoteProtocolError"
    assert dropped in ("RemoteProtocolError", "ReadError", "WriteError")
    assert there == [True, False]
    assert len(hub.requests("POST", "/commit/main")) == 2, "to push again what was made is no new commit"


def test_a_create_that_is_refused_passes_where_the_repo_exists(hub: LoopbackHub, model: Path) -> None:
    hub.put_model("user/tiny", model)
    hub.fail("POST", "/repos/create", 401, times=2)
    code = """
    create = lambda name: outcome(api.create_repo, name, exist_ok=True)
    print(json.dumps([create("user/tiny"), create("user/no")]))
    """
    assert answer(hub, code, token=hub.user.write_token) == ["done", "HfHubHTTPError"]


def test_the_cache_answers_for_a_hub_that_fails_or_is_late_but_not_for_one_that_hangs_up(
    hub: LoopbackHub, tmp_path: Path
) -> None:
    folder = write_folder(tmp_path / "model", {"a.txt": b"1", "b.txt": b"2", "c.txt": b"3", "new.txt": b"4"})
    hub.put_model("user/tiny", folder)
    failing = hub.fail("HEAD", "/resolve/main/a.txt", 500)
    late = hub.hold("HEAD", "/resolve/main/b.txt")
    hub.hang_up("HEAD", "/resolve/main/c.txt")
    first = hub.hold("HEAD", "/resolve/main/new.txt")
    code = """
    get = lambda name, revision=None: Path(hf_hub_download("user/tiny", name, revision=revision)).read_text()
    sha = api.model_info("user/tiny").sha
    cached = [get(name, sha) for name in ("a.txt", "b.txt", "c.txt")]
    refs = Path(hf_hub_download("user/tiny", ".gitattributes")).parents[2] / "refs/main"
    found = [get("a.txt"), get("b.txt"), outcome(get, "c.txt"), get("new.txt")]
    print(json.dumps([cached, refs.read_text() == sha, found]))
    """
    cached, referred, found = answer(hub, code, HF_HUB_ETAG_TIMEOUT="1")
    assert cached == ["1", "2", "3"]
    assert referred
    assert found == ["1", "2", "RemoteProtocolError", "4"], "without a cache a late Hub is asked once more"
    assert [failing.hits, late.hits, first.hits] == [1, 1, 1]


def test_a_fault_meets_so_many_requests_of_its_kind_and_no_others(hub: LoopbackHub, model: Path) -> None:
    hub.put_model("user/tiny", model)
    fault = hub.fail("GET", "/tiny/tree/", 500, times=2)
    targets = ["/api/models/user/tiny/tree/main", "/api/models/user/tiny"] * 3
    assert [ask(hub.url, "GET", target)[0] for target in targets] == [500, 200, 500, 200, 200, 200]
    assert fault.hits == 2
    hub.hang_up("GET", "tree", times=5)
    hub.clear_faults()
    assert ask(hub.url, "GET", targets[0])[0] == 200


def test_a_released_fault_holds_nothing_back(hub: LoopbackHub, model: Path) -> None:
    hub.put_model("user/tiny", model)
    fault = hub.hold("GET", "tree", seconds=1000)
    fault.release()
    assert ask(hub.url, "GET", "/api/models/user/tiny/tree/main")[0] == 200
    assert fault.hits == 1


# The server itself


def post_commit(hub: LoopbackHub, lines: list[dict[str, Any]]) -> tuple[int, dict[str, str], bytes]:
    body = b"".join(json.dumps(line).encode() + b"\n" for line in lines)
    return ask(hub.url, "POST", "/api/models/user/tiny/commit/main", body, bearer(hub.user.write_token))


def test_a_commit_of_what_was_not_uploaded_or_is_unknown_is_refused(hub: LoopbackHub, model: Path) -> None:
    hub.put_model("user/tiny", model)
    header = {"key": "header", "value": {"summary": "Change"}}
    pointer = {"path": "a.bin", "algo": "sha256", "oid": "0" * 64, "size": 1}
    status, headers, _ = post_commit(hub, [header, {"key": "lfsFile", "value": pointer}])
    assert (status, headers["x-error-message"]) == (400, "The large file of a.bin was not uploaded")
    status, headers, _ = post_commit(hub, [header, {"key": "rename", "value": {"path": "a"}}])
    assert (status, headers["x-error-message"]) == (400, "Unknown operation: rename")
    assert len(hub.repo("user/tiny").commits) == 2


def test_the_storage_takes_and_gives_by_signature_only(hub: LoopbackHub, model: Path) -> None:
    hub.put_model("user/tiny", model)
    _, headers, _ = ask(hub.url, "HEAD", "/user/tiny/resolve/main/model.safetensors")
    url = urlsplit(headers["location"])
    storage, target = f"{url.scheme}://{url.netloc}", f"{url.path}?{url.query}"
    data = MODEL["model.safetensors"]
    assert ask(storage, "GET", target)[::2] == (200, data)
    assert ask(storage, "GET", target, headers={"Range": "bytes=10-19"})[::2] == (206, data[10:20])
    assert ask(storage, "GET", target, headers={"Range": "bytes=-5"})[::2] == (206, data[-5:])
    status, headers, _ = ask(storage, "GET", target, headers={"Range": "bytes=3000-"})
    assert (status, headers["content-range"]) == (416, "bytes */3000")
    assert ask(storage, "GET", target, headers=bearer(hub.user.write_token))[0] == 400
    assert ask(storage, "GET", url.path)[0] == 403
    assert ask(storage, "PUT", target, b"x")[0] == 403
    wanted = json.dumps({"objects": [{"oid": "0" * 64, "size": 1}]})
    token = bearer(hub.user.write_token)
    _, _, body = ask(hub.url, "POST", "/user/tiny.git/info/lfs/objects/batch", wanted, token)
    link = urlsplit(json.loads(body)["objects"][0]["actions"]["upload"]["href"])
    assert ask(storage, "PUT", f"{link.path}?{link.query}", b"x")[0] == 400, "not the content it promised"
    download = f"{link.path}?{link.query}"
    assert ask(storage, "GET", download)[0] == 403, "a link for putting is none for getting"


def test_a_body_in_chunks_is_put_together(hub: LoopbackHub) -> None:
    parts = [b'{"content": "---\\nlicense:', b' mine\\n---\\n", "repoType": "model"}']
    headers = {"Transfer-Encoding": "chunked"}
    status, _, body = ask(hub.url, "POST", "/api/validate-yaml", iter(parts), headers, encode_chunked=True)
    assert status == 400
    assert b"license" in body


def test_a_body_that_is_too_large_ends_the_connection(hub: LoopbackHub) -> None:
    with pytest.raises((http.client.RemoteDisconnected, ConnectionError)):
        ask(hub.url, "POST", "/api/validate-yaml", headers={"Content-Length": str(MAX_BODY + 1)})
    chunk, headers = f"{MAX_BODY + 1:x}\r\n".encode(), {"Transfer-Encoding": "chunked"}
    with pytest.raises((http.client.RemoteDisconnected, ConnectionError)):
        ask(hub.url, "POST", "/api/validate-yaml", chunk, headers)


def test_an_unknown_endpoint_is_told_apart(hub: LoopbackHub) -> None:
    """A new version of a client may ask for more; the record says what."""
    assert ask(hub.url, "GET", "/api/spaces/user/tiny")[0] == 404
    assert [seen.known for seen in hub.requests()] == [False]


def test_an_error_of_the_hub_itself_is_kept_for_the_fixture(tmp_path: Path) -> None:
    with LoopbackHub(tmp_path) as hub:
        assert ask(hub.url, "POST", "/api/validate-yaml", b"no JSON")[0] == 500
        assert "JSONDecodeError" in hub.crashes[0]


def test_a_stopped_hub_lets_nobody_wait(tmp_path: Path) -> None:
    """A held answer, or a connection that is kept open, must not outlive the test."""
    with LoopbackHub(tmp_path) as hub:
        url = urlsplit(hub.url).netloc
        idle, held = (http.client.HTTPConnection(url, timeout=20) for _ in range(2))
        idle.request("GET", "/api/models/user/no")
        idle.getresponse().read()
        fault = hub.hold("GET", "/whoami", seconds=1000)
        held.request("GET", "/api/whoami-v2")
        assert fault.wait_for_hit(20)
    with contextlib.closing(idle):
        assert idle.sock.recv(1) == b"", "the Hub has ended the connection"
    with contextlib.closing(held), contextlib.suppress(http.client.HTTPException, ConnectionError):
        assert held.getresponse().status == 401, "answered at last, or cut off, but not held any longer"
    with pytest.raises(ConnectionRefusedError):
        ask(hub.url, "GET", "/api/whoami-v2")


def test_a_client_knows_this_hub_and_no_setting_of_ours(
    hub: LoopbackHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HF_TOKEN", "HF_HUB_OFFLINE", "HF_DATASETS_CACHE", "TRANSFORMERS_OFFLINE", "https_proxy"):
        monkeypatch.setenv(name, "ours")
    settings = hub.environment(token="hf_x", home=tmp_path, MORE="1")
    assert "ours" not in settings.values()
    wanted = {
        "HF_ENDPOINT": hub.url,
        "HF_HOME": str(tmp_path),
        "HF_TOKEN": "hf_x",
        "HF_HUB_OFFLINE": "0",
        "MORE": "1",
    }
    assert wanted.items() <= settings.items()
    assert "HF_TOKEN" not in hub.environment()


def test_a_client_ends_with_its_children_when_its_time_is_over(hub: LoopbackHub, tmp_path: Path) -> None:
    code = """
    import subprocess, sys, time
    print("started", flush=True)
    subprocess.run([sys.executable, "-c", "import time; time.sleep(100)"])
    """
    with pytest.raises(TimeoutError, match="more than 1"):
        hub.run_client(code, timeout=1)


def test_a_client_that_fails_shows_why(hub: LoopbackHub) -> None:
    run = hub.run_client(["-c", "raise SystemExit('out of order')"])
    assert (run.returncode, run.stdout) == (1, "")
    with pytest.raises(AssertionError, match="out of order"):
        run.answer()
    assert client.ClientRun(0, "said\n[1]\n", "").answer() == [1]
