"""Models that find what text describes teach a student's classes, as their own post-processing has them."""

from __future__ import annotations

import importlib.util
import sys
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from torch import Tensor
from transformers import AutoConfig, PretrainedConfig, PreTrainedModel
from transformers.utils import is_torchvision_available

from hf_structkd import StructKDTrainer
from hf_structkd.cli.script_args import parse_run
from hf_structkd.features.forward import Forward, run_model
from hf_structkd.losses import query_distillation_loss
from hf_structkd.matching.alignment import resize_map
from hf_structkd.models import TeacherSource, load_teacher
from hf_structkd.models.prompted.prompts import prompts_for, read_prompts
from hf_structkd.tasks import DetectionTask, SegmentationTask
from tests.cases import arguments
from tests.cli.test_without_labels import HELD_OUT, run, scores_of
from tests.tiny_detectors import tiny_detector
from tests.tiny_models import tiny_segmentation_model
from tests.tiny_prompted import PROMPTED_DETECTORS, tiny_processor, tiny_prompted_model, tiny_tokenizer

CLASSES = {0: "red_apple", 1: "traffic light", 2: "sofa"}
# The second class has two phrases.
GIVEN = {"red apple": "red apple", "traffic light": ["traffic light", "old lamp"], "sofa": "sofa"}
PHRASES, OWNERS = ["red apple", "traffic light", "old lamp", "sofa"], [0, 1, 1, 2]


def asked(
    arch: str, model: PreTrainedModel, classes: Mapping[int, str] = CLASSES, given: Any = GIVEN
) -> PreTrainedModel:
    """Return the teacher of a student of these classes."""
    task = SegmentationTask if arch == "clipseg" else DetectionTask
    student = PretrainedConfig(id2label=dict(classes))
    source = TeacherSource(model, task).asked_for(student, {"teacher_prompts": given}, tiny_processor(arch))
    return source.model


def images(*size: int) -> Tensor:
    return torch.randn(2, 3, *size, generator=torch.Generator().manual_seed(0))


def post_processed(arch: str, model: PreTrainedModel, pixel_values: Tensor, sizes: list[Any]) -> list[Any]:
    """Return what the model's own processor makes of its own tokens: all boxes of all images."""
    backend = "" if is_torchvision_available() else "Pil"
    tokenizer = tiny_tokenizer(arch)
    if "grounding" in arch:
        image_processor = getattr(transformers, f"GroundingDinoImageProcessor{backend}")()
        processor = transformers.GroundingDinoProcessor(image_processor, tokenizer)
        text = processor(text=[PHRASES] * 2, return_tensors="pt")
        output = model(pixel_values=pixel_values, **text)
        found = processor.post_process_grounded_object_detection(
            output, threshold=0.0, text_threshold=0.6, target_sizes=sizes
        )
        return [{**one, "labels": [phrase_of(text) for text in one["text_labels"]]} for one in found]
    if "owl" in arch:
        name = "Owlv2" if arch == "owlv2" else "OwlViT"
        image_processor = getattr(transformers, f"{name}ImageProcessor{backend}")()
        processor = getattr(transformers, f"{name}Processor")(image_processor, tokenizer)
        text = processor(text=[PHRASES] * 2, max_length=24, return_tensors="pt")
        output = model(pixel_values=pixel_values, **text)
        return image_processor.post_process_object_detection(output, threshold=0.0, target_sizes=sizes)
    settings = {"padding": "max_length", "max_length": 24, "truncation": True, "return_tensors": "pt"}
    text, task = (
        tokenizer(PHRASES * 2, **settings),
        tokenizer([f"Detect {', '.join(PHRASES)}."] * 2, **settings),
    )
    output = model(
        pixel_values=pixel_values,
        classes_input_ids=text["input_ids"],
        classes_attention_mask=text["attention_mask"],
        tasks_input_ids=task["input_ids"],
        tasks_attention_mask=task["attention_mask"],
        classes_structure=torch.tensor([len(PHRASES)] * 2),
    )
    process = omdet_processing().OmDetTurboProcessor.post_process_grounded_object_detection
    every = {"threshold": 0.0, "nms_threshold": 1.0, "max_num_det": output.decoder_class_logits[0].numel()}
    return process(None, output, target_sizes=sizes, **every)


def omdet_processing() -> Any:
    """Return the module, which Transformers hides where torchvision is missing; it lends it one function."""
    path = Path(transformers.__file__).parent / "models" / "omdet_turbo" / "processing_omdet_turbo.py"
    spec = importlib.util.spec_from_file_location("transformers.models.omdet_turbo.own_processing", path)
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    if not is_torchvision_available():
        module.batched_nms = lambda boxes, scores, labels, overlap: torch.arange(len(boxes))  # type: ignore[attr-defined]
    return module


def phrase_of(text: str) -> int:
    """Return the phrase of which a Grounding DINO names the tokens; -1 where it is sure of none."""
    return PHRASES.index(text) if text else -1


@pytest.mark.parametrize("arch", PROMPTED_DETECTORS)
def test_boxes_scores_and_classes_are_those_of_its_own_post_processing(arch: str) -> None:
    """Another reading of scores or boxes teaches, with the same name, another model than the user chose."""
    model = tiny_prompted_model(arch)
    own_size, sizes = (64, 96), [(50, 70), (91, 64)]
    pixel_values = images(*own_size)
    shown = pixel_values
    if "owl" in arch:
        # The images were stretched to 64 x 96 pixels, of which OWLv2 makes a square.
        sizes = [(64, 96)] * 2 if arch == "owlv2" else sizes
        shown = owl_images(arch, pixel_values)
    teacher = asked(arch, model)
    with torch.no_grad():
        expected = post_processed(arch, model, shown, sizes)
        output = teacher(pixel_values=pixel_values)
    task = DetectionTask(PretrainedConfig(id2label=CLASSES), teacher.config)
    queries = task.as_student(output, {"pixel_values": pixel_values})

    for image, own in enumerate(expected):
        height, width = sizes[image]
        scale = torch.tensor([width, height, width, height])
        centre, side = queries.boxes[image].split(2, dim=-1)
        boxes = torch.cat((centre - side / 2, centre + side / 2), dim=-1) * scale
        scores, classes = queries.logits[image].sigmoid().max(dim=-1)
        best: dict[int, tuple[float, int]] = {}
        for score, label, box in zip(own["scores"], own["labels"], own["boxes"], strict=True):
            at = (boxes.clamp(scale.new_zeros(4), scale) if "omdet" in arch else boxes) - box
            query = int(at.abs().sum(-1).argmin())
            torch.testing.assert_close(at[query], torch.zeros(4), atol=1e-3, rtol=0)
            owner = OWNERS[int(label)] if int(label) >= 0 else int(classes[query])
            best[query] = max(best.get(query, (0.0, 0)), (float(score), owner))
        assert len(best) == len(boxes)
        assert len({owner for _, owner in best.values()}) > 1
        for query, (score, owner) in best.items():
            assert score == pytest.approx(float(scores[query]), abs=1e-5)
            assert owner == int(classes[query])


def owl_images(arch: str, pixel_values: Tensor) -> Tensor:
    """Return images as OWL's processor makes them of images of this size."""
    if arch == "owlv2":
        mean, std = (
            torch.tensor(one)
            for one in ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711))
        )
        black = (-mean / std)[:, None, None].expand(2, 3, 32, 96)
        pixel_values = torch.cat((pixel_values, black), dim=2)
    return resize_map(pixel_values, (32, 32))


def test_owlv2_sees_a_photo_as_its_own_processor_shows_it() -> None:
    """Another colour or place of the padding moves the boxes of images that are not square."""
    backend = "" if is_torchvision_available() else "Pil"
    processor = getattr(transformers, f"Owlv2ImageProcessor{backend}")(size={"height": 32, "width": 32})
    photo = np.random.default_rng(0).integers(0, 255, (20, 32, 3), dtype=np.uint8)
    model = tiny_prompted_model("owlv2")
    teacher = asked("owlv2", model)
    mean, std = (
        torch.tensor(values)[:, None, None] for values in (processor.image_mean, processor.image_std)
    )
    pixel_values = (torch.from_numpy(photo).permute(2, 0, 1) / 255 - mean) / std
    with torch.no_grad():
        ours = teacher(pixel_values=pixel_values[None])
        shown = processor(photo, return_tensors="pt")["pixel_values"]
        boxes = model.box_predictor(
            *(lambda grid: (grid.flatten(1, 2), grid))(model.image_embedder(shown)[0])
        )
    corners = processor.post_process_object_detection(
        transformers.models.owlv2.modeling_owlv2.Owlv2ObjectDetectionOutput(
            logits=torch.ones(1, boxes.shape[1], 1), pred_boxes=boxes
        ),
        target_sizes=[(20, 32)],
    )[0]["boxes"]
    centre, side = ours.pred_boxes[0].split(2, dim=-1)
    own = torch.cat((centre - side / 2, centre + side / 2), dim=-1) * torch.tensor([32, 20, 32, 20])
    torch.testing.assert_close(own, corners, atol=2e-3, rtol=1e-3)


def test_the_map_of_a_padded_image_ends_where_the_image_ends() -> None:
    """A map with the padding in it would be compared with a student's map of the image alone."""
    teacher = asked("owlv2", tiny_prompted_model("owlv2"))
    pixel_values = images(64, 32)
    capture = DetectionTask.find_features(teacher, pixel_values)
    maps = run_model(teacher, {"pixel_values": pixel_values}, capture).features
    assert [tuple(one.shape) for one in maps] == [(2, 16, 4, 2)]


def test_text_features_are_computed_once() -> None:
    """The text is the same at every step, and the text encoder may be as large as the student."""
    calls: Counter[str] = Counter()
    text_encoders = {
        "clipseg": "clip.text_model",
        "omdet-turbo": "language_backbone",
        "owlv2": "owlv2.text_model",
        "owlvit": "owlvit.text_model",
    }
    for arch, name in text_encoders.items():
        model = tiny_prompted_model(arch)
        teacher = asked(arch, model)
        count = lambda *args, arch=arch: calls.update([arch])  # noqa: E731
        model.get_submodule(name).register_forward_hook(count)
        with torch.no_grad():
            teacher(pixel_values=images(64, 64))
            first = calls[arch]
            teacher(pixel_values=images(64, 64)[:1])
        assert first > 0, arch
        assert calls[arch] == first, arch


@pytest.mark.parametrize("student_arch", ["yolos", "rt_detr"])
def test_the_query_terms_read_the_sigmoids_of_the_best_phrases(student_arch: str) -> None:
    """A softmax over phrases, or odds that are added, would be probabilities that the teacher never gave."""
    model = tiny_prompted_model("omdet-turbo")
    teacher = asked("omdet-turbo", model)
    student = tiny_detector(student_arch, id2label=CLASSES)
    task = DetectionTask(student.config, teacher.config)
    pixel_values = images(64, 64)
    raw: list[Any] = []
    model.register_forward_hook(lambda module, args, output: raw.append(output))
    with torch.no_grad():
        theirs, ours = teacher(pixel_values=pixel_values), student(pixel_values)
    phrases = raw[0].decoder_class_logits.double().sigmoid()
    by_class = torch.stack([phrases[..., 0], phrases[..., 1:3].amax(-1), phrases[..., 3]], dim=-1)
    expected = query_distillation_loss(
        ours.logits,
        ours.pred_boxes,
        torch.logit(by_class).float(),
        raw[0].decoder_coord_logits,
        student_head="softmax" if student_arch == "yolos" else "sigmoid",
        teacher_head="sigmoid",
    )
    batch = {"pixel_values": pixel_values}
    torch.testing.assert_close(
        task.output_loss(Forward(ours, ()), Forward(theirs, ()), batch, temperature=1.0), expected
    )


# ---- CLIPSeg ----


@pytest.mark.parametrize("with_background", [True, False])
def test_clipseg_divides_a_pixel_among_the_phrases_and_the_background(with_background: bool) -> None:
    """Maps that are scaled to add up to 1 would call a pixel that no phrase describes by one of them."""
    model = tiny_prompted_model("clipseg")
    classes = {**CLASSES, 3: "background"} if with_background else CLASSES
    given = {**GIVEN, "background": []} if with_background else GIVEN
    teacher = asked("clipseg", model, classes, given)
    pixel_values = images(32, 32)
    tokens = tiny_tokenizer("clipseg")(PHRASES, padding=True, return_tensors="pt")
    with torch.no_grad():
        maps = torch.stack(
            [model(pixel_values=image.expand(4, -1, -1, -1), **tokens).logits for image in pixel_values]
        ).sigmoid()
        found = teacher(pixel_values=pixel_values).logits.softmax(dim=1)
    p = torch.stack([maps[:, 0], maps[:, 1:3].amax(1), maps[:, 3]], dim=1)
    nothing = (1 - p).prod(dim=1, keepdim=True)
    expected = p / p.sum(dim=1, keepdim=True)
    if with_background:
        expected = torch.cat([(1 - nothing) * expected, nothing], dim=1)
    torch.testing.assert_close(found, expected)
    assert SegmentationTask(
        tiny_segmentation_model("segformer", id2label=classes).config, teacher.config
    ).labels.is_identity


def test_clipseg_says_which_images_it_takes() -> None:
    teacher = asked("clipseg", tiny_prompted_model("clipseg"))
    with pytest.raises(ValueError, match=r"CLIPSeg takes square images, .* got 32 × 64"):
        teacher(pixel_values=images(32, 64))


# ---- what is asked ----


def test_class_names_are_the_phrases_where_none_are_given() -> None:
    prompts = prompts_for(["traffic_light", "dining-table"], None, finds_rest=False)
    assert prompts.phrases == ("traffic light", "dining-table")
    rest = prompts_for(["Background", "cat"], None, finds_rest=True)
    assert (rest.phrases, rest.rest, rest.id2label) == (("cat",), "Background", {0: "cat", 1: "Background"})


def test_a_class_with_an_empty_list_is_not_taught_by_a_detector() -> None:
    teacher = asked("owlvit", tiny_prompted_model("owlvit"), given={**GIVEN, "sofa": []})
    assert teacher.config.id2label == {0: "red_apple", 1: "traffic light"}
    task = DetectionTask(PretrainedConfig(id2label=CLASSES), teacher.config)
    assert "1 (sofa) of the student's learned from labels alone" in task.describe()["classes"]


@pytest.mark.parametrize(
    ("arch", "given", "sentence"),
    [
        (
            "owlvit",
            {"sofa": "sofa"},
            r"every class of the student, got none for 'red_apple', 'traffic light'",
        ),
        ("owlvit", {**GIVEN, "sofas": "a"}, r"names 'sofas', which is no class .*; did you mean 'sofa'\?"),
        ("owlvit", {**GIVEN, "Sofa": "a"}, "has two entries for 'sofa'; keep one"),
        ("owlvit", {**GIVEN, "sofa": "Old lamp"}, "'Old lamp' for 'traffic light' and for 'sofa'"),
        ("owlvit", {**GIVEN, "sofa": ["a", "a"]}, "the phrase 'a' twice for 'sofa'"),
        ("owlvit", {**GIVEN, "sofa": " "}, "has an empty phrase for 'sofa'"),
        ("owlvit", {**GIVEN, "sofa": 3}, "a phrase or a list of phrases, got 3 for 'sofa'"),
        ("owlvit", dict.fromkeys(GIVEN, ()), "has no phrase, got empty lists alone"),
        ("owlvit", {**GIVEN, "sofa": "?!"}, r"got '\?!', of which its tokenizer makes nothing"),
        (
            "owlvit",
            {**GIVEN, "sofa": "a" * 30},
            "must fit the teacher's 24 tokens a phrase, got 'aaa.* of 32",
        ),
        ("grounding-dino", {**GIVEN, "sofa": "a. plum"}, "must have no full stop .* got 'a. plum'"),
        ("grounding-dino", {**GIVEN, "sofa": "xyz"}, "got 'xyz', of which its tokenizer makes nothing"),
        (
            "grounding-dino",
            {**GIVEN, "sofa": ["a red"] * 0 + ["old " * 40]},
            "must fit the teacher's 40 tokens",
        ),
        ("clipseg", {**GIVEN, "sofa": [], "red_apple": []}, "every class but one, .* 'red_apple', 'sofa'"),
    ],
)
def test_prompts_that_do_not_fit_get_one_sentence(arch: str, given: Any, sentence: str) -> None:
    """A phrase that is cut, or a class that is forgotten, is taught in silence as if nothing were there."""
    if "red_apple" in given:
        given = {name: value for name, value in given.items() if name != "red apple"}
    with pytest.raises(ValueError, match=f"^`teacher_prompts`.* .*{sentence}") as caught:
        asked(arch, tiny_prompted_model(arch), given=given)
    assert "\n" not in str(caught.value)


def test_names_that_say_nothing_are_no_prompts() -> None:
    with pytest.raises(ValueError, match="names of the student's classes, which say nothing, got 'LABEL_0'"):
        prompts_for(["LABEL_0", "LABEL_1"], None, finds_rest=False)


def test_prompts_are_read_from_a_file_or_a_text(tmp_path: Path) -> None:
    text = '{"cat": "a  cat", "dog": ["dog", "puppy"]}'
    (tmp_path / "prompts.json").write_text(text, encoding="utf-8")
    expected = {"cat": ["a cat"], "dog": ["dog", "puppy"]}
    assert read_prompts(text) == read_prompts(str(tmp_path / "prompts.json")) == expected
    with pytest.raises(ValueError, match="`teacher_prompts` has more than one entry for 'a'"):
        read_prompts('{"a": "b", "a": "c"}')


def test_names_alone_are_no_mapping() -> None:
    with pytest.raises(TypeError, match=r"`teacher_prompts` must map .*, got \['cat'\]; write {class: \["):
        read_prompts(["cat"])  # type: ignore[arg-type]


@pytest.mark.parametrize("arch", ["owlvit", "clipseg"])
def test_a_teacher_that_was_asked_for_nothing_says_so(arch: str) -> None:
    task = SegmentationTask if arch == "clipseg" else DetectionTask
    with pytest.raises(ValueError, match="reads text, and was asked for nothing yet; take the model that"):
        load_teacher(tiny_prompted_model(arch), task)(images(32, 32))


def test_a_teacher_that_reads_no_text_refuses_prompts() -> None:
    """They would be without effect."""
    source = TeacherSource(tiny_detector("detr", id2label=CLASSES), DetectionTask)
    with pytest.raises(ValueError, match="`teacher_prompts` must be left out for DetrForObjectDetection"):
        source.asked_for(PretrainedConfig(id2label=CLASSES), {"teacher_prompts": GIVEN})


def test_a_model_in_memory_needs_its_processor() -> None:
    source = TeacherSource(tiny_prompted_model("owlvit"), DetectionTask)
    with pytest.raises(ValueError, match="`teacher_processing_class` must be the teacher's processor, whose"):
        source.asked_for(PretrainedConfig(id2label=CLASSES), {})


def test_other_prompts_are_another_teacher_for_a_cache() -> None:
    """Answers to other phrases would be read as those to these."""
    source = TeacherSource(tiny_prompted_model("owlvit"), DetectionTask)
    student = PretrainedConfig(id2label=CLASSES)
    prints = {
        source.asked_for(student, {"teacher_prompts": given}, tiny_processor("owlvit")).fingerprint
        for given in (None, GIVEN, {**GIVEN, "sofa": "a sofa"})
    }
    assert len(prints) == 3


def test_two_students_can_share_the_model() -> None:
    """Loaded twice, a large teacher does not fit the memory; asked for the other's classes, it misleads."""
    source = TeacherSource(tiny_prompted_model("owlvit"), DetectionTask)
    one, other = (
        source.asked_for(
            PretrainedConfig(id2label=dict(enumerate(names))), {}, tiny_processor("owlvit")
        ).model
        for names in (["apple"], ["sofa", "lamp"])
    )
    assert one.inner is other.inner
    with torch.no_grad():
        shapes = [model(pixel_values=images(32, 32)).logits.shape[-1] for model in (one, other, one)]
    assert shapes == [1, 2, 1]


def test_a_saved_teacher_reads_by_the_tokenizer_beside_it_and_its_answers_are_kept(tmp_path: Path) -> None:
    """The tokens of another tokenizer are other words; and one class is enough to detect it."""
    tiny_prompted_model("owlvit").save_pretrained(tmp_path / "teacher")
    tiny_tokenizer("owlvit").save_pretrained(tmp_path / "teacher")
    labels = {"class_labels": torch.zeros(1, dtype=torch.long), "boxes": torch.tensor([[0.5, 0.5, 0.4, 0.4]])}
    data = [{"pixel_values": image, "labels": labels} for image in images(64, 64)]
    loaded = []
    for _ in range(2):
        trainer = StructKDTrainer(
            tiny_detector("yolos", id2label={0: "lamp"}),
            str(tmp_path / "teacher"),
            arguments(
                tmp_path / "run", max_steps=1, teacher_cache=str(tmp_path / "cache"), holistic_weight=0
            ),
            train_dataset=data,
            task_options={"teacher_prompts": {"lamp": ["lamp", "old lamp"]}},
        )
        trainer.train()
        assert trainer.state.log_history[0]["loss_pixel"] > 0
        loaded.append(trainer.teacher.source.is_loaded)
    assert loaded == [True, False]


def test_a_yaml_file_of_options_holds_the_prompts_as_a_mapping(tmp_path: Path) -> None:
    """Nobody should write JSON inside of YAML."""
    file = tmp_path / "fruit.yaml"
    file.write_text("teacher_prompts:\n  sofa: [a sofa, a couch]\n  lamp: lamp\n", encoding="utf-8")
    options = parse_run(DetectionTask, (str(file), "--use_cpu", "--output_dir", "run"), scenes={}).options
    assert DetectionTask.task_options(options)["teacher_prompts"] == {
        "sofa": ["a sofa", "a couch"],
        "lamp": ["lamp"],
    }


@pytest.mark.long
def test_photos_and_phrases_make_a_detector(tmp_path: Path) -> None:
    """Whoever has no labels has no names of classes either, other than those that are written here."""
    tiny_tokenizer("owlvit").save_pretrained(tmp_path / "teacher")
    prompts = '{"lamp": ["lamp", "old lamp"], "sofa": "sofa"}'
    flags = (*HELD_OUT, "--teacher_prompts", prompts, "--pseudo_label_threshold", "0.1")
    out = run(tmp_path, DetectionTask, tiny_prompted_model("owlvit"), tiny_detector("yolos"), *flags)
    assert AutoConfig.from_pretrained(out).id2label == {0: "lamp", 1: "sofa"}
    assert "eval_agreement_map" in scores_of(out)
