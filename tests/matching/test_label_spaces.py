"""Classes are matched by meaning, and only what both models know is compared."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest
import torch

from hf_structkd.matching.label_spaces import load_label_map, match_label_spaces

ROADS = {0: "road", 1: "car", 2: "sky"}


def _logits(classes: int) -> torch.Tensor:
    return torch.randn(2, classes, 3, 4) * 3


def test_equal_label_spaces_are_the_identity_and_copy_nothing() -> None:
    match = match_label_spaces(ROADS, ROADS)
    logits = _logits(3)
    assert match.is_identity
    assert match.student_logits(logits) is logits
    assert match.teacher_logits(logits) is logits


def test_classes_are_matched_by_name_in_any_order() -> None:
    """Matched by id, the student learns to call the road sky."""
    match = match_label_spaces(ROADS, {0: "sky", 1: "road", 2: "car"})
    assert match.names == ("road", "car", "sky")
    assert match.student_ids == (0, 1, 2)
    assert match.teacher_ids == ((1,), (2,), (0,))
    assert not match.is_identity
    logits = _logits(3)
    assert match.student_logits(logits) is logits
    assert torch.equal(match.teacher_logits(logits), logits[:, [1, 2, 0]])


@pytest.mark.parametrize("written", ["Traffic_Light", " traffic-light", "TRAFFIC  LIGHT", "_traffic light_"])
def test_case_spaces_underscores_and_hyphens_do_not_matter(written: str) -> None:
    match = match_label_spaces({0: "traffic light", 1: "road"}, {0: "Road", 1: written})
    assert match.names == ("traffic light", "road")
    assert match.teacher_ids == ((1,), (0,))


def test_softmax_over_a_superset_teacher_is_renormalised_over_the_shared_classes() -> None:
    """A teacher sure of a class the student lacks would otherwise pull all student classes down."""
    match = match_label_spaces(ROADS, {0: "person", 1: "sky", 2: "tree", 3: "road", 4: "car"})
    logits = _logits(5)
    shared = logits.softmax(dim=1)[:, [3, 4, 1]]
    expected = shared / shared.sum(dim=1, keepdim=True)
    torch.testing.assert_close(match.teacher_logits(logits).softmax(dim=1), expected)


def test_softmax_over_a_superset_student_is_renormalised_over_the_shared_classes() -> None:
    match = match_label_spaces({0: "person", **{i + 1: name for i, name in ROADS.items()}}, ROADS)
    logits = _logits(4)
    shared = logits.softmax(dim=1)[:, 1:]
    expected = shared / shared.sum(dim=1, keepdim=True)
    torch.testing.assert_close(match.student_logits(logits).softmax(dim=1), expected)
    assert match.names == ("road", "car", "sky")


def test_the_label_map_joins_differently_named_classes() -> None:
    match = match_label_spaces(
        ROADS, {0: "heaven", 1: "street", 2: "car"}, label_map={"Street": "ROAD", "heaven": "sky"}
    )
    assert match.teacher_ids == ((1,), (2,), (0,))


def test_the_label_map_wins_over_an_equal_name() -> None:
    """A user who maps "car" elsewhere says that the two cars are not the same."""
    match = match_label_spaces(ROADS, {0: "car", 1: "sky"}, label_map={"car": "road"})
    assert match.names == ("road", "sky")
    assert match.teacher_ids == ((0,), (1,))


def test_merged_teacher_classes_add_their_probabilities() -> None:
    """Picking one of them, or adding logits, would give a merged class the wrong share."""
    match = match_label_spaces(
        ROADS, {0: "car", 1: "sky", 2: "bus", 3: "road", 4: "tree"}, label_map={"bus": "car"}
    )
    assert match.teacher_ids == ((3,), (0, 2), (1,))
    logits = _logits(5)
    p = logits.softmax(dim=1)
    merged = torch.stack([p[:, 3], p[:, 0] + p[:, 2], p[:, 1]], dim=1)
    expected = merged / merged.sum(dim=1, keepdim=True)
    torch.testing.assert_close(match.teacher_logits(logits).softmax(dim=1), expected)


def test_merging_every_class_one_to_one_is_not_mistaken_for_a_merge() -> None:
    match = match_label_spaces({0: "a", 1: "b"}, {0: "x", 1: "y", 2: "z"}, label_map={"y": "a", "z": "b"})
    logits = _logits(3)
    assert torch.equal(match.teacher_logits(logits), logits[:, [1, 2]])


def test_gradient_reaches_the_student_through_the_matched_logits() -> None:
    match = match_label_spaces({0: "person", 1: "car", 2: "sky"}, {0: "sky", 1: "car"})
    logits = _logits(3).requires_grad_()
    match.student_logits(logits).sum().backward()
    assert logits.grad is not None
    assert logits.grad[:, 0].abs().max() == 0
    assert torch.equal(logits.grad[:, 1:], torch.ones(2, 2, 3, 4))


def test_generic_names_match_by_index_with_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    """Unnamed classes agree by name whatever they mean: training would be silently wrong."""
    generic = {index: f"LABEL_{index}" for index in range(3)}
    with caplog.at_level(logging.WARNING):
        match = match_label_spaces(generic, generic)
    assert match.is_identity
    assert "generic names" in caplog.text


def test_real_names_give_no_warning(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        match_label_spaces(ROADS, ROADS)
    assert not caplog.text


def test_no_shared_class_is_refused_with_both_label_sets() -> None:
    with pytest.raises(ValueError, match=r"share too few classes.*'road', 'car', 'sky'.*'cat', 'dog'"):
        match_label_spaces(ROADS, {0: "cat", 1: "dog"})


def test_one_shared_class_is_refused() -> None:
    """Softmax over one class is 1 for both models: the loss would be 0 and the run would look fine."""
    with pytest.raises(ValueError, match=r"too few classes by name \(1,"):
        match_label_spaces(ROADS, {0: "car", 1: "dog"})


def test_teacher_classes_of_one_name_are_dropped() -> None:
    """COCO's configurations call ten unused ids "N/A"; merged or picked, they would teach anything."""
    match = match_label_spaces(
        {**ROADS, 3: "n/a"}, {0: "N/A", 1: "sky", 2: "car", 3: "N/A", 4: "road", 5: "Car"}
    )
    assert match.names == ("road", "sky")
    assert (match.student_ids, match.teacher_ids) == ((0, 2), ((4,), (1,)))
    assert match.ambiguous == ("N/A", "car")
    logits = _logits(6)
    assert torch.equal(match.teacher_logits(logits), logits[:, [4, 1]])


def test_a_label_map_cannot_name_several_teacher_classes_at_once() -> None:
    with pytest.raises(ValueError, match="names 'N/A', which is 2 classes of the teacher; give each a name"):
        match_label_spaces(ROADS, {0: "N/A", 1: "sky", 2: "n/a", 3: "road"}, label_map={"N/A": "car"})


def test_two_student_classes_of_one_name_are_refused() -> None:
    with pytest.raises(ValueError, match=r"student has two classes of one name: 'car' \(id 0\) and 'Car'"):
        match_label_spaces({0: "car", 1: "road", 2: "Car"}, ROADS)


def test_class_ids_with_gaps_are_refused() -> None:
    """An id is a channel of the logits: with a gap every later class would be shifted."""
    with pytest.raises(ValueError, match="student's class ids must be 0 to K - 1"):
        match_label_spaces({0: "road", 2: "car"}, ROADS)


@pytest.mark.parametrize(
    ("label_map", "message"),
    [
        ({"ski": "road"}, "'ski', which is no class of the teacher; did you mean 'sky'"),
        ({"sky": "caar"}, "'caar', which is no class of the student; did you mean 'car'"),
        ({"sky": "qqqq"}, "'qqqq', which is no class of the student; it has 'road', 'car', 'sky'"),
    ],
)
def test_a_label_map_with_unknown_names_is_refused(label_map: dict[str, str], message: str) -> None:
    """A misspelt name would drop its class without a word."""
    with pytest.raises(ValueError, match=message):
        match_label_spaces(ROADS, ROADS, label_map=label_map)


def test_a_label_map_that_sends_one_class_to_two_is_refused() -> None:
    with pytest.raises(ValueError, match="'Sky' to two student classes"):
        match_label_spaces(ROADS, ROADS, label_map={"sky": "car", "Sky": "road"})


@pytest.mark.parametrize("role", ["student", "teacher"])
def test_logits_with_another_number_of_channels_are_refused(role: str) -> None:
    """A head wider than its labels would have the wrong channels picked."""
    match = match_label_spaces(ROADS, {0: "sky", 1: "car"})
    with pytest.raises(ValueError, match=f"the {role}'s logits must have"):
        getattr(match, f"{role}_logits")(_logits(7))


def test_a_label_map_is_read_from_a_file_or_given_inline(tmp_path: Path) -> None:
    expected = {"heaven": "sky", "street": "road"}
    path = tmp_path / "map.json"
    path.write_text(json.dumps(expected), encoding="utf-8")
    assert load_label_map(str(path)) == expected
    assert load_label_map(" " + json.dumps(expected)) == expected
    assert load_label_map("{}") == {}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("missing.json", "missing.json is neither a file nor"),
        ('{"a": ', "not valid JSON"),
        ('{"a": 1}', "as strings"),
        ('{"a": {"b": "c"}}', "as strings"),
        ('{"a": "b", "a": "c"}', "more than one entry for 'a'"),
    ],
)
def test_an_unreadable_label_map_is_refused(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        load_label_map(text)


def test_a_file_that_holds_a_list_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "map.json"
    path.write_text('[["a", "b"]]', encoding="utf-8")
    with pytest.raises(ValueError, match="must be one JSON object"):
        load_label_map(str(path))
