"""A run that reads its teacher's answers is the run that computes them."""

from __future__ import annotations

import contextlib
import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors import safe_open

from hf_structkd.data import collate_dense
from hf_structkd.losses import graphs
from hf_structkd.report import write_report
from hf_structkd.training.fill_cache import fill_teacher_cache

from ..cases import CASES, TaskCase, arguments, make_trainer, state_of

TWO_EPOCHS = {"max_steps": 4}


# With the pair-wise term alone, nodes are stored; feature imitation reads whole maps.
TERMS = {"nodes": {}, "maps": {"mimic_weight": 1.0}}


@pytest.fixture(params=CASES, ids=lambda case: case.name)
def case(request: pytest.FixtureRequest) -> TaskCase:
    return request.param


def _trained(case: TaskCase, folder: Path, teacher: Path, **settings):
    trainer = make_trainer(case, arguments(folder, **TWO_EPOCHS, **settings), teacher=str(teacher))
    trainer.train()
    return trainer


@pytest.fixture
def teacher(case: TaskCase, tmp_path: Path) -> Path:
    case.teacher(1).save_pretrained(tmp_path / "teacher")
    return tmp_path / "teacher"


@pytest.mark.parametrize(
    ("case", "terms"),
    [*((case, "nodes") for case in CASES), (CASES[0], "maps")],
    ids=lambda value: getattr(value, "name", value),
)
def test_a_cache_of_float32_changes_no_bit(
    case: TaskCase, terms: str, teacher: Path, tmp_path: Path, capsys, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise nobody could tell whether a result is due to the method or to its cache.

    The pair-wise term takes the form of large maps, of whose sum the cache keeps a part. The first run stores
    in its first epoch and reads from the second on; the last one reads only, and must then not even load the
    weights.
    """
    monkeypatch.setattr(graphs, "linear_is_cheaper", lambda *sizes: True)
    cache = {"teacher_cache": str(tmp_path / "cache"), "teacher_cache_dtype": "float32", **TERMS[terms]}
    plain = _trained(case, tmp_path / "plain", teacher, **TERMS[terms])
    first = _trained(case, tmp_path / "first", teacher, **cache)
    later = _trained(case, tmp_path / "later", teacher, **cache)
    for run in (first, later):
        for name, value in state_of(plain).items():
            assert torch.equal(value, state_of(run)[name]), name
        logs = [[e.get("loss") for e in one.state.log_history if "loss" in e] for one in (plain, run)]
        assert logs[0] == logs[1]
    assert first.teacher.source.is_loaded
    assert not later.teacher.source.is_loaded
    table = capsys.readouterr().out.split("─\n")[-2]
    assert "teacher (read from cache)" in table
    assert "8 answers in" in table


@pytest.mark.parametrize("case", CASES[:1], ids=["segmentation"])
def test_float16_answers_are_the_same_fresh_and_read(case: TaskCase, teacher: Path, tmp_path: Path) -> None:
    """A rounding that came only with the second epoch would be a jump in the loss without a reason."""
    cache = {"teacher_cache": str(tmp_path / "cache")}
    first = _trained(case, tmp_path / "first", teacher, **cache)
    later = _trained(case, tmp_path / "later", teacher, **cache)
    for name, value in state_of(first).items():
        assert torch.equal(value, state_of(later)[name]), name
    plain = _trained(case, tmp_path / "plain", teacher)
    losses = [[e["loss"] for e in run.state.log_history if "loss" in e] for run in (plain, later)]
    torch.testing.assert_close(*map(torch.tensor, losses), rtol=5e-3, atol=1e-3)


def test_scores_from_the_cache_are_exact(case: TaskCase, teacher: Path, tmp_path: Path) -> None:
    """A teacher whose score moved with the cache would move the share of the gap that a student closes."""
    cache = {"teacher_cache": str(tmp_path / "cache")}
    runs = [{}, cache, cache, {**cache, "teacher_image_size": [96, 96]}]
    trainers = [make_trainer(case, arguments(tmp_path, **run), teacher=str(teacher)) for run in runs]
    plain, stored, read, other = (trainer.evaluate_teacher() for trainer in trainers)
    for scores in (stored, read):
        assert scores == pytest.approx(plain, rel=0, abs=0, nan_ok=True)
    assert set(other) == set(plain)
    assert [trainer.teacher.source.is_loaded for trainer in trainers[1:]] == [True, False, True]


@pytest.mark.parametrize("case", CASES[:1], ids=["segmentation"])
def test_a_cache_filled_beforehand_is_complete(
    case: TaskCase, teacher: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Whoever fills it on a large machine trains on a small one, which cannot hold the teacher.

    Of pictures and times there is no cache: the report says that it loads the teacher for them.
    """
    args = arguments(tmp_path, teacher_cache=str(tmp_path / "cache"), max_steps=6)
    rows = case.rows(8)
    rows.views, rows.set_epoch = 1, lambda epoch: None
    count = fill_teacher_cache(make_trainer(case, args, teacher=str(teacher), train_dataset=rows))
    trainer = make_trainer(case, args, teacher=str(teacher), train_dataset=rows)
    trainer.train()
    assert count == 8
    assert not trainer.teacher.source.is_loaded
    write_report(trainer, trainer.evaluate())
    assert "The report loads the teacher's weights" in caplog.text


def test_data_that_never_comes_again_is_refused(tmp_path: Path) -> None:
    """The folder would grow with every epoch, and no answer in it would ever be read."""
    rows = CASES[0].rows(4)
    rows.views = None
    trainer = make_trainer(CASES[0], arguments(tmp_path, teacher_cache=str(tmp_path)), train_dataset=rows)
    with pytest.raises(ValueError, match="`augmentation_views`"):
        trainer.train()


def test_a_collator_that_changes_images_gets_answers_to_them(tmp_path: Path) -> None:
    """The key that a row brings is of the image before: its answer would be to another image."""
    case, answers = CASES[0], []
    rows = case.rows(4)
    for number, row in enumerate(rows.rows):
        row["sample_key"] = torch.tensor([0, number])
    for shade in (0.0, 1.0):

        def darker(batch, shade=shade):
            batch = collate_dense(batch)
            return {**batch, "pixel_values": batch["pixel_values"] - shade}

        args = arguments(tmp_path, max_steps=1, teacher_cache=str(tmp_path / "cache"))
        trainer = make_trainer(case, args, train_dataset=rows, data_collator=darker)
        trainer.train()
        answers.append(len(next(iter(trainer.teacher._stores.values()))))
    assert answers == [4, 8]


def test_a_teacher_without_weights_is_refused_before_an_epoch(tmp_path: Path) -> None:
    """At once without a cache; with one, which may need no weights, at the first answer that is missing."""
    case, empty = CASES[0], str(tmp_path / "empty")
    model = case.teacher(1)
    model.config.architectures = [type(model).__name__]
    model.config.save_pretrained(empty)
    with pytest.raises(ValueError, match="`teacher_model`"):
        make_trainer(case, arguments(tmp_path), teacher=empty)
    cached = make_trainer(case, arguments(tmp_path, teacher_cache=str(tmp_path / "cache")), teacher=empty)
    with pytest.raises(ValueError, match="`teacher_model`"):
        cached.train()


def test_another_student_is_answered_by_its_own_match(tmp_path: Path) -> None:
    """A search over students of other classes would else read columns that were stored for the first one."""
    case = CASES[0]
    trainer = make_trainer(case, arguments(tmp_path, teacher_cache=str(tmp_path / "cache")))
    other = case.student(0)
    other.config.id2label = {i: f"LABEL_{4 - i}" for i in range(5)}
    trainer.pair.follow(other)
    assert trainer.teacher._task is trainer.pair.task


CHANGES = {
    "weights": lambda folder: _edit_weights(folder),
    "image size": lambda folder: {"teacher_image_size": [128, 128]},
    "the teacher's dtype": lambda folder: {"teacher_dtype": "bfloat16"},
    "precision": lambda folder: {"teacher_cache_dtype": "float32"},
    "nodes": lambda folder: {"granularity": [4]},
    "maps in place of nodes": lambda folder: {"mimic_weight": 1.0},
    "feature": lambda folder: {
        "student_feature": ["segformer.stages.0"],
        "teacher_feature": ["neck.fusion_stage.layers.0"],
    },
}


def _edit_weights(folder: Path) -> dict:
    model = CASES[0].teacher(2)
    model.save_pretrained(folder)
    return {}


def _trained_in(folder: Path, **settings):
    """Train for one step; the paths are relative, because an answer is one of a teacher's path too."""
    args = arguments("run", **{"max_steps": 1, "teacher_cache": "cache", **settings})
    with contextlib.chdir(folder):
        trainer = make_trainer(CASES[0], args, teacher="teacher")
        trainer.train()
    return trainer


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A teacher with a cache that a run of one step has filled and another has read."""
    folder = tmp_path_factory.mktemp("filled")
    CASES[0].teacher(1).save_pretrained(folder / "teacher")
    _trained_in(folder)
    assert not _trained_in(folder).teacher.source.is_loaded
    return folder


@pytest.mark.parametrize("change", CHANGES)
def test_an_answer_of_other_ingredients_is_never_read(change: str, filled: Path, tmp_path: Path) -> None:
    """A wrong hit teaches the student another model's answers, and nothing would say so."""
    folder = Path(shutil.copytree(filled, tmp_path / "copy"))
    settings = CHANGES[change](folder / "teacher")
    assert _trained_in(folder, **settings).teacher.source.is_loaded
    facts = [json.loads(path.read_text()) for path in folder.glob("cache/*/answers.json")]
    assert len(facts) > 2, "the answers lie in the folder of others"


@pytest.mark.parametrize("off", [("pixel", "holistic"), ("pairwise",)], ids=["features", "output"])
def test_a_run_of_fewer_terms_reads_what_one_of_more_has_stored(
    off: tuple[str, ...], filled: Path, tmp_path: Path
) -> None:
    """A comparison of terms would run the teacher anew for every set of them: most of its time."""
    folder = Path(shutil.copytree(filled, tmp_path / "copy"))
    assert not _trained_in(folder, **{f"{name}_weight": 0.0 for name in off}).teacher.source.is_loaded


def test_what_is_stored_stays_when_another_part_is_added(filled: Path, tmp_path: Path) -> None:
    """The part that is missing is computed in another batch, which may move the last bits of the other."""
    folder = tmp_path / "copy"
    shutil.copytree(filled / "teacher", folder / "teacher")
    for settings in ({"pairwise_weight": 0.0}, {}):
        whole = _trained_in(folder, **settings)
    stored = {path.parent.name: path.read_bytes() for path in folder.glob("cache/*/*.safetensors")}
    assert len(stored) == 2
    assert whole.teacher.source.is_loaded
    assert not _trained_in(folder).teacher.source.is_loaded


def test_a_copied_answer_of_the_same_ingredients_is_read(filled: Path, tmp_path: Path) -> None:
    """Else the tests above find no answer in a copy, whatever was changed."""
    folder = Path(shutil.copytree(filled, tmp_path / "copy"))
    assert not _trained_in(folder).teacher.source.is_loaded


def test_nodes_take_a_fourth_of_the_maps(tmp_path: Path) -> None:
    """Whole maps of a large teacher fill a disk: the pair-wise term reads nodes alone."""
    sizes = {}
    for name, terms in TERMS.items():
        args = arguments(tmp_path, teacher_cache=str(tmp_path / name), pixel_weight=0.0, holistic_weight=0.0)
        for weight, value in {"max_steps": 2, **terms}.items():
            setattr(args, weight, value)
        make_trainer(CASES[0], args).train()
        (shard,) = tmp_path.glob(f"{name}/*/*.safetensors")
        with safe_open(shard, "pt") as file:
            maps = [file.get_tensor(key) for key in file.keys() if "sums" not in key]  # noqa: SIM118
            sizes[name] = sum(one.numel() for one in maps)
    assert sizes["maps"] == 4 * sizes["nodes"]
