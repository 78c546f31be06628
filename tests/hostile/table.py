"""The bad inputs, each with a regular expression for the sentence that it gets."""

from __future__ import annotations

import math
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from hf_structkd.tasks import task_of

from ..cases import DEPTH
from .inputs import (
    BOX,
    CONFIG,
    CRITIC,
    IMAGE,
    INDEX,
    INDEX_FILE,
    MANIFEST,
    MASK,
    OPTIMISER,
    PAGE,
    PICKLE,
    POINTER,
    PROCESSOR,
    SETTINGS,
    SIDE,
    STATE,
    WEIGHTS,
    Make,
    a_file,
    boxes,
    checkpoint,
    cut,
    damaged,
    damaged_table,
    depth,
    file,
    flag,
    full,
    hub,
    image,
    loaded,
    mask,
    matched,
    model,
    names,
    no_rows,
    normalization,
    objects,
    of_plain_trainer,
    option,
    parsed,
    place,
    processor,
    raw,
    segmenter,
    set_to,
    student,
    teacher,
    teacher_with,
    unchanged,
    without,
    written,
    yaml,
)


class Bad(NamedTuple):
    """A bad input.

    Attributes:
        kind: What kind of thing it is.
        name: What is wrong with it.
        make: Makes it in a place, and reads it as the library does.
        sentence: A part of the sentence that it gets.
    """

    kind: str
    name: str
    make: Make
    sentence: str


def of(kind: str, *rows: tuple[str, Make, str]) -> list[Bad]:
    return [Bad(kind, *row) for row in rows]


FLOATS = file(Image.fromarray(full(0.5, np.float32)), "TIFF")
RAGGED = [[0] * 32] * 31 + [[0] * 31]
NAN = math.nan
ONE = {"max_train_samples": 1, "max_eval_samples": 1}
NO_TYPE = b'{"image_processor_type": "X"}'
GREY = b'{"image_processor_type": "SegformerImageProcessor", "image_mean": "grey"}'

UNREADABLE = r"image in row 0.* cannot be decoded"
NO_CLASS_MAP = "must hold one integer class id per pixel"
NO_DEPTH_MAP = "must hold one number per pixel"
WRONG_TYPE = "must be of the type .* correct this option"
IN_PIXELS = "must be height and width in whole pixels"
NAMES = "must map each class id, 0 to K - 1, to a name of its own"
NO_JSON = "must be JSON that names the classes"
TEACHER = "`teacher_model` .* cannot be loaded "
STUDENT = "the student .* cannot be loaded "
BAD_PROCESSOR = "the image processor of .* cannot be loaded "
NO_MODEL = "must be a folder, or a model on the Hub"
NOT_FOUR = "A box in row 0 must be four numbers, got "
UNEVEN = "The fields of row 0 must be of one length, got "
NO_CATEGORY = r"The categories in row 0 must be ids in \[0, 2\) or class names, got "
NO_BOX = "must hold at least one box to train on, got none"
NO_YAML = "run.yaml is not valid YAML: "
ONE_VALUE = "where one value belongs"
AT_LEAST_1 = "must be at least 1"
ABOVE_0 = "must be finite and above 0"
CUT_SETTINGS = f"its {SETTINGS} is missing, cut or no JSON"
DAMAGED = "`dataset_name` .* cannot be loaded "
NO_DATA = "`dataset_name` must be a Hub id, or a folder"

TABLE = [
    *of(
        "image",
        ("missing image", image(None), f"{UNREADABLE} .*the row holds no image"),
        ("cut image", image(raw(IMAGE["bytes"][:200])), UNREADABLE),
        ("image of no bytes", image(raw(b"")), UNREADABLE),
        ("web page for an image", image(raw(b"<html>404</html>")), UNREADABLE),
        ("image of floats", image(FLOATS), "must have 8 or 16 bits per channel"),
        ("path to nothing", image("x.png"), UNREADABLE),
        ("number for an image", image(1), UNREADABLE),
        ("dict for an image", image({"a": 1}), UNREADABLE),
        ("ragged image", image([[1, 2], [1]]), "rows of pixels in row 0.* must be of one length"),
        ("words for pixels", image([["a"]]), "must hold integers in"),
        ("empty list for an image", image([]), "must have the shape"),
        ("channels first", image(np.zeros((3, *SIDE), np.uint8).tolist()), "shape .*move the channels"),
        ("two channels", image(np.zeros((*SIDE, 2), np.uint8).tolist()), "must have the shape"),
        ("five channels", image(np.zeros((*SIDE, 5), np.uint8).tolist()), "must have the shape"),
        ("negative pixels", image(full(-1, int).tolist()), "must hold integers in"),
        ("pixels above 255", image(full(256, int).tolist()), "must hold integers in"),
    ),
    *of(
        "mask",
        ("missing mask", mask(None), UNREADABLE),
        ("cut mask", mask(raw(MASK["bytes"][:60])), UNREADABLE),
        ("mask of floats", mask(FLOATS), NO_CLASS_MAP),
        ("mask of colours", mask(IMAGE), NO_CLASS_MAP),
        ("mask of another size", mask(file(np.zeros((16, 32), np.uint8))), "must have the same size"),
        ("path to no mask", mask("a/b.png"), UNREADABLE),
        ("one id for a mask", mask(3), "`label_column` must be a column of masks"),
        ("negative ids", mask(full(-1, int).tolist()), r"Labels must lie in \[0, 3\)"),
        ("ragged mask", mask(RAGGED), "must be of one length"),
        ("list of shares for a mask", mask(full(0.5).tolist()), NO_CLASS_MAP),
        ("ids too high", mask(file(full(7, np.uint8))), r"Labels must lie in \[0, 3\).* got the values 7"),
        ("ids of 16 bits", mask(file(full(300, np.uint16))), "Labels must lie in .* got the values 300"),
        ("mask in JPEG", mask(file(full(0, np.uint8), "JPEG")), "stored as JPEG, which does not keep values"),
        ("dict for a mask", mask({"x": 1}), UNREADABLE),
    ),
    *of(
        "depth",
        ("missing depth", depth(None), UNREADABLE),
        ("depth of 8 bits", depth(file(full(9, np.uint8))), "`depth_scale` must be given .* 8 bits"),
        ("depth in colours", depth(IMAGE), NO_DEPTH_MAP),
        ("one number for depth", depth(3), "which holds one int64 of each image"),
        ("path to no depth", depth("x.png"), UNREADABLE),
        ("truth values for depth", depth(full(1, bool).tolist()), NO_DEPTH_MAP),
        ("ragged depth", depth(RAGGED), "must be of one length"),
        ("depth of another size", depth(np.ones((16, 32)).tolist()), "must have the same size"),
        ("depth with two channels", depth(np.ones((2, *SIDE)).tolist()), NO_DEPTH_MAP),
        ("depth in no unit", depth(full(1e30).tolist()), "`depth_scale` must be the metres of a"),
        ("cut depth", depth(raw(file(full(900, np.uint16))["bytes"][:60])), UNREADABLE),
    ),
    *of(
        "option",
        option(IN_PIXELS, image_size=[0, 32]),
        option(IN_PIXELS, image_size=[-1, 32]),
        option("`image_size` must be two numbers", image_size=[32]),
        option("`image_size` must be two numbers", image_size=[32, 32, 32]),
        option(f"`image_size` {WRONG_TYPE}", image_size=[32.5, 32]),
        option(f"`image_size` {WRONG_TYPE}", image_size=["a", "b"]),
        option(f"`image_size` {WRONG_TYPE}", image_size=32),
        option(f"`image_size` {WRONG_TYPE}", image_size=None),
        option("`scale` must be two positive numbers", scale=[0, 1]),
        option("`scale` must be two numbers", scale=[1]),
        option(f"`scale` {WRONG_TYPE}", scale=["a", "b"]),
        option("`scale` must be two positive numbers", scale=[float("nan"), 1]),
        option(r"`flip_probability` must lie in \[0, 1\]", flip_probability=2),
        option(f"`flip_probability` {WRONG_TYPE}", flip_probability="x"),
        option("`color_jitter` must be four strengths", color_jitter=[1]),
        option(f"`color_jitter` {WRONG_TYPE}", color_jitter=["a"] * 4),
        option("`base_size` must be height and width", base_size=[0, 0]),
        option("`base_size` must be two numbers", base_size=[3]),
        option(f"`ignore_index` {WRONG_TYPE}", ignore_index="x"),
        option(f"`ignore_index` {WRONG_TYPE}", ignore_index=2.5),
        option(f"`ignore_index` {WRONG_TYPE}", ignore_index=True),
        option("`label_values` must list the stored value of each", label_values=["0"]),
        option("`label_values` must be integers .* or colours", label_values=["a"]),
        option("`label_values` must name a value once", label_values=[0, 0, 1]),
        option(f"`label_values` {WRONG_TYPE}", label_values="012"),
        option(f"`label_values` {WRONG_TYPE}", label_values=5),
        option(f"`max_train_samples` {AT_LEAST_1}", max_train_samples=0),
        option(f"`max_train_samples` {WRONG_TYPE}", max_train_samples=1.5),
        option(f"`max_train_samples` {WRONG_TYPE}", max_train_samples="x"),
        option(r"`validation_fraction` must lie in \(0, 1\)", validation_fraction=0.0),
        option("`validation_fraction` must leave rows", validation_fraction=0.1),
        option(f"`validation_fraction` {WRONG_TYPE}", validation_fraction="x"),
        option("`train_split` must be one of the splits", train_split=""),
        option("`train_split` must hold at least one row", train_split="train[:0%]"),
        option("a slice is written", train_split="train[x"),
        option(f"`train_split` {WRONG_TYPE}", train_split=None),
        option("`image_column` must be a column of the dataset, got 'img'", image_column="img"),
        option(f"`image_column` {WRONG_TYPE}", image_column=None),
        option("`label_column` must be a column of the dataset", label_column=""),
        option(NO_CLASS_MAP, label_column="image"),
        option(f"`streaming` {WRONG_TYPE}", streaming="yes"),
        option("did you mean `color_jitter`", colour_jitter=[1]),
    ),
    *of(
        "class names",
        *(names(text, NO_JSON) for text in (b"{", b"\xff\xfe")),
        *(names(text, NAMES) for text in (b"[]", b"{}", b"null", b'"x"', b"3", b'{"0": "a", "2": "b"}')),
        *(names(text, NAMES) for text in (b'{"0": "a", "1": "a", "2": "c"}', b'{"x": "a"}')),
        *(names(text, NAMES) for text in (b'{"0": "a", "1": null}', b'{"0": {"a": 1}, "1": "b"}')),
    ),
    *of(
        "model",
        ("cut config", model(cut(CONFIG), teacher), f"{TEACHER}.*config.json' is not"),
        ("cut config of a student", model(cut(CONFIG), student), f"{STUDENT}.*config.json' is not"),
        ("cut config, task", model(cut(CONFIG), task_of), "`model` .* cannot be loaded .*not a valid JSON"),
        ("config of no bytes", model(written(CONFIG, b""), student), f"{STUDENT}.*not a valid JSON"),
        ("config is a list", model(written(CONFIG, b"[]"), student), f"{STUDENT}.*`model_type`"),
        ("config is a page", model(written(CONFIG, PAGE), teacher), f"{TEACHER}.*not a valid JSON"),
        ("config of bytes", model(written(CONFIG, b"\xff\xfe\x00"), teacher), f"{TEACHER}.*not a valid JSON"),
        ("unknown model_type", model(set_to(model_type="seqformer"), teacher), f"{TEACHER}.*`seqformer`"),
        ("unknown type, student", model(set_to(model_type="seqformer"), student), f"{STUDENT}.*`seqformer`"),
        ("no model_type", model(set_to(model_type=None), student), f"{STUDENT}.*model type `None`"),
        ("words for widths", model(set_to(hidden_sizes="wide"), student), f"{STUDENT}.*'hidden_sizes'"),
        ("names are a list", model(set_to(id2label=["a"]), student), STUDENT),
        ("names of words", model(set_to(id2label={"a": "b"}), student), f"{STUDENT}.*'a'"),
        (
            "names with a gap",
            model(set_to(id2label={"0": "a", "2": "b"}), matched),
            r"0 to K - 1, got \[0, 2\]",
        ),
        ("names twice", model(set_to(id2label={"0": "a", "1": "a"}), matched), "classes of one name: 'a'"),
        (
            "too many names",
            model(set_to(id2label=dict.fromkeys("0123", "a")), teacher),
            f"{TEACHER}.*together",
        ),
        (
            "another task",
            model(set_to(architectures=["GLPN"]), teacher),
            "for image-segmentation, .* is GLPN",
        ),
        ("cut weights", model(cut(WEIGHTS), teacher), f"{TEACHER}.*Safetensor"),
        ("cut weights of a student", model(cut(WEIGHTS), student), f"{STUDENT}.*Safetensor"),
        ("weights are a page", model(written(WEIGHTS, PAGE), teacher), f"{TEACHER}.*Safetensor"),
        ("weights are a page, student", model(written(WEIGHTS, PAGE), student), f"{STUDENT}.*Safetensor"),
        ("pointer of LFS", model(written(WEIGHTS, POINTER), loaded), f"{TEACHER}.*Safetensor.*download"),
        ("weights of no bytes", model(written(WEIGHTS, b""), student), f"{STUDENT}.*Safetensor"),
        ("pickle is a page", model(written(PICKLE, PAGE), teacher), f"{TEACHER}.*UnpicklingError"),
        ("pickle of no bytes", model(written(PICKLE, b""), teacher), f"{TEACHER}.*EOFError"),
        ("index without its files", model(written(INDEX_FILE, INDEX), teacher), f"{TEACHER}.*model-00001"),
        ("cut index", model(written(INDEX_FILE, INDEX[:20]), teacher), f"{TEACHER}.*JSONDecodeError"),
        (
            "teacher without weights",
            model(without(WEIGHTS), teacher),
            "has no weights, and a teacher must be",
        ),
        ("teacher of wider layers", model(set_to(decoder_hidden_size=9), teacher), f"{TEACHER}.*together"),
        ("teacher without a config", model(without(CONFIG), teacher), TEACHER),
        ("student without a config", model(without(CONFIG), student), STUDENT),
        ("empty folder", model(without(CONFIG, WEIGHTS), student), STUDENT),
        ("student is a file", model(unchanged, student, WEIGHTS), f"{STUDENT}.*not a valid JSON"),
        ("teacher is a file", model(unchanged, teacher, WEIGHTS), f"{TEACHER}.*not a valid JSON"),
        ("no such path", model(unchanged, student, "none"), f"the student {NO_MODEL}"),
        ("no such path of a teacher", model(unchanged, teacher, "none"), f"`teacher_model` {NO_MODEL}"),
        ("no such id", lambda at: student(Path("nowhere/model")), "is no folder and not in the cache"),
        ("cut processor", model(written(PROCESSOR, b"{"), processor), BAD_PROCESSOR),
        ("processor is a list", model(written(PROCESSOR, b"[]"), processor), BAD_PROCESSOR),
        (
            "unknown processor",
            model(written(PROCESSOR, NO_TYPE), processor),
            f"{BAD_PROCESSOR}.*Unrecognized",
        ),
        (
            "words for a mean",
            model(written(PROCESSOR, GREY), normalization),
            "`image_mean` must be .* 'grey'",
        ),
    ),
    *of(
        "box",
        ("words for numbers", boxes(bbox=[["a", "b", "c", "d"]]), NOT_FOUR),
        ("five numbers", boxes(bbox=[[*BOX, 1.0]]), NOT_FOUR),
        ("empty box", boxes(bbox=[[]]), rf"{NOT_FOUR}\[\]"),
        ("box is None", boxes(bbox=[None]), f"{NOT_FOUR}None"),
        ("box is a dict", boxes(bbox=[{"x": 1}]), NOT_FOUR),
        ("box of lists", boxes(bbox=[[[1], [2], [3], [4]]]), NOT_FOUR),
        ("boxes None", boxes(bbox=None), UNEVEN),
        ("boxes a word", boxes(bbox="abcd"), "The field 'bbox' in row 0 must be a list"),
        ("categories None", boxes(category=None), UNEVEN),
        ("category None", boxes(category=[None]), f"{NO_CATEGORY}None"),
        ("category NaN", boxes(category=[NAN]), f"{NO_CATEGORY}nan"),
        ("category negative", boxes(category=[-1]), f"{NO_CATEGORY}-1"),
        ("category half", boxes(category=[0.5]), f"{NO_CATEGORY}0.5"),
        ("category is a digit", boxes(category=["9"]), f"{NO_CATEGORY}9"),
        ("category is a list", boxes(category=[[0]]), "must be ids or class names, got"),
        ("fewer categories", boxes(bbox=[BOX, BOX]), UNEVEN),
        ("crowd None", boxes(iscrowd=None), UNEVEN),
        ("crowd words", boxes(iscrowd=["no"]), "The field 'iscrowd' in row 0 must hold 0 or 1"),
        ("cut JSON", boxes('{"bbox": [[1'), "must be JSON where they are a string"),
        ("JSON of a number", boxes("3"), "must be a dict of lists, a list of dicts or JSON"),
        ("all NaN", objects({"bbox": [[NAN] * 4], "category": [0]}), NO_BOX),
        ("all infinite", objects({"bbox": [[1.0, 2.0, math.inf, 3.0]], "category": [0]}), NO_BOX),
        ("all negative", objects({"bbox": [[9.0, 9.0, -3.0, -3.0]] * 3, "category": [0] * 3}), NO_BOX),
        ("all unknown", objects({"bbox": [BOX], "category": [7]}, unknown_categories="drop"), NO_BOX),
        ("all crowd", objects({"bbox": [BOX], "category": [0], "iscrowd": [1]}), NO_BOX),
        ("no objects", objects({"bbox": [], "category": []}), NO_BOX),
    ),
    *of(
        "setting",
        ("tab", yaml("learning_rate:\t0.1\n\tmax_steps: 3\n"), f"{NO_YAML}.*cannot start any token"),
        ("bytes", parsed(yaml=b"\xff\xfe\x00\x81"), NO_YAML),
        ("zero bytes", parsed(yaml=b"\x00\x00\x00"), NO_YAML),
        ("bytes in JSON", parsed(json=b"\xff\xfe\x00\x81"), "run.json is not valid JSON: "),
        ("page", yaml("<html>a: b: c</html>"), NO_YAML),
        ("JSON list", parsed(json=b"[1]"), "run.json must map option names to values, got a list"),
        ("two documents", yaml("max_steps: 3\n---\nmax_steps: 4\n"), f"{NO_YAML}expected a single document"),
        ("python object", yaml("max_steps: !!python/object/apply:os.abort []\n"), f"{NO_YAML}could not"),
        ("list for a number", yaml("max_steps: [3]\n"), f"sets 'max_steps' to .3., {ONE_VALUE}"),
        ("map for a number", yaml("learning_rate: {a: 1}\n"), f"sets 'learning_rate' to .*, {ONE_VALUE}"),
        ("map for text", yaml("output_dir: {a: 1}\n"), f"sets 'output_dir' to .*, {ONE_VALUE}"),
        ("fraction for a count", yaml("max_steps: 1.5\n"), "yaml: argument --max_steps.* value: '1.5'"),
        ("truth for a number", yaml("learning_rate: true\n"), "invalid float value: 'True'"),
        ("nothing for a number", yaml("learning_rate:\n"), f"sets 'learning_rate' to None, {ONE_VALUE}"),
        ("word for a number", yaml("learning_rate: fast\n"), "invalid float value: 'fast'"),
        ("word for a truth", yaml("compare_baseline: maybe\n"), "Truthy value expected: got maybe"),
        ("number for a truth", yaml("compare_baseline: 7\n"), "Truthy value expected: got 7"),
        ("word for a choice", yaml("node_pooling: median\n"), "`node_pooling` must be one of"),
        ("list of lists", yaml("image_size: [[64, 64]]\n"), "invalid int value: '.64, 64.'"),
        ("nested settings", yaml("training:\n  max_steps: 3\n"), "sets 'training', which is no option"),
        ("misspelt flag", flag("pixel_wieght", "3"), "is no option; did you mean '--pixel_weight'"),
        ("value without a flag", parsed("out"), "'out' is no option"),
        ("flag without a value", flag("learning_rate"), "expected one argument"),
        ("word for a count", flag("max_steps", "many"), "invalid int value: 'many'"),
        ("yaml behind flags", flag("max_steps", "3", "run.yaml"), "'run.yaml' is no option"),
        ("output_dir is a file", flag("output_dir", "HERE/file.json"), "`output_dir` must be a folder"),
        (
            "output_dir below a file",
            flag("output_dir", "HERE/file.json/out"),
            "`output_dir` must be a folder",
        ),
        ("batch of 0", flag("per_device_train_batch_size", "0"), f"{AT_LEAST_1}, got 0"),
        ("batch below 0", flag("per_device_train_batch_size", "-2"), f"{AT_LEAST_1}, got -2"),
        ("evaluation batch of 0", flag("per_device_eval_batch_size", "0"), f"eval_batch_size` {AT_LEAST_1}"),
        ("accumulation of 0", flag("gradient_accumulation_steps", "0"), f"accumulation_steps` {AT_LEAST_1}"),
        ("epochs 0", flag("num_train_epochs", "0"), f"`num_train_epochs` {ABOVE_0}"),
        ("epochs below 0", flag("num_train_epochs", "-1"), f"`num_train_epochs` {ABOVE_0}"),
        ("epochs NaN", flag("num_train_epochs", "nan"), f"`num_train_epochs` {ABOVE_0}"),
        ("epochs infinite", flag("num_train_epochs", "inf"), f"`num_train_epochs` {ABOVE_0}"),
        ("steps 0", flag("max_steps", "0"), f"`max_steps` {AT_LEAST_1}, or -1"),
        ("rate below 0", flag("learning_rate", "-1"), "`learning_rate` must be finite and at least 0"),
        ("rate NaN", flag("learning_rate", "nan"), "`learning_rate` must be finite and at least 0"),
        ("image_size of one", flag("image_size", "64"), "`image_size` must be two numbers"),
        ("image_size 0", flag("image_size", "0", "0"), f"`image_size` {IN_PIXELS}"),
        ("image_size below 0", flag("image_size", "-1", "64"), f"`image_size` {IN_PIXELS}"),
        ("image_size a fraction", flag("image_size", "64.5", "64"), "invalid int value: '64.5'"),
    ),
    *of(
        "place",
        ("a split without rows", no_rows, "`validation_split` must hold at least one row"),
        ("no such data", place("HERE/none"), NO_DATA),
        ("data are a file", place("HERE/file.json"), NO_DATA),
        *(
            (f"damaged {name}", damaged(name), f"{DAMAGED}.*complete")
            for name in ("train/*.arrow", "train/state.json", "train/dataset_info.json", "dataset_dict.json")
        ),
        *(
            (f"damaged {name}", damaged_table(name), f"{DAMAGED}.*complete")
            for name in ("a.parquet", "a.csv")
        ),
        ("folders without files", place("HERE/pairs"), NO_DATA),
        ("configuration of a folder", place("GOOD", dataset_config_name="b"), "nor revisions, got 'b'"),
        ("revision of a folder", place("GOOD", dataset_revision="v1"), "got None and 'v1'"),
        ("no names", place("GOOD", id2label_path="HERE/none.json"), "`id2label_path` must be a JSON file"),
        ("names are a folder", place("GOOD", id2label_path="HERE"), "`id2label_path` must be a JSON file"),
        ("no such images", place("GOOD", unlabeled_dataset_name="HERE/none"), "name` must be a Hub"),
        ("unlabelled beside scenes", place("", unlabeled_dataset_name="GOOD", **ONE), "needs `dataset_name`"),
        ("scenes of no size", place("", image_size=[0, 32], **ONE), f"`image_size` {IN_PIXELS}"),
        ("scenes of negative size", place("", image_size=[32, -1], **ONE), f"`image_size` {IN_PIXELS}"),
    ),
    *of(
        "hub",
        ("404", hub(unchanged, teacher, name="user/no"), f"`teacher_model` {NO_MODEL}.* got 'user/no'"),
        ("404 for a student", hub(unchanged, student, name="user/no"), f"the student {NO_MODEL}"),
        ("private", hub(unchanged, teacher, private=True), "a model on the Hub that you may read"),
        ("gated", hub(unchanged, teacher, gated=True), "'user/model' is gated; ask for access on "),
        ("401", hub(unchanged, teacher_with("hf_wrong")), "the Hub does not know the token"),
        ("403", hub(unchanged, teacher, fault="GET HEAD /user/ 403"), "may not be read with your token"),
        ("500", hub(unchanged, teacher, fault="GET /resolve-cache/ 500"), "the Hub answered 500 Internal"),
        ("page for a configuration", hub(written(CONFIG, PAGE), teacher), f"{TEACHER}.*not a valid JSON"),
        ("page for a student", hub(written(CONFIG, PAGE), student), f"{STUDENT}.*not a valid JSON"),
        ("page for weights", hub(written(WEIGHTS, PAGE), teacher), f"{TEACHER}.*Safetensor"),
        ("page for a processor", hub(written(PROCESSOR, PAGE), processor), BAD_PROCESSOR),
        (
            "500 for a processor",
            hub(written(PROCESSOR, GREY), processor, fault="GET /resolve-cache/ 500"),
            "answered 500",
        ),
        ("cut configuration", hub(cut(CONFIG), student), f"{STUDENT}.*not a valid JSON"),
        ("cut weights", hub(cut(WEIGHTS), teacher), f"{TEACHER}.*Safetensor.*download"),
        ("cut weights of a student", hub(cut(WEIGHTS), student), f"{STUDENT}.*Safetensor.*download"),
        ("no weights", hub(without(WEIGHTS), teacher), f"{TEACHER}.*not appear to have a file named"),
    ),
    *of(
        "checkpoint",
        ("another task", checkpoint(unchanged, DEPTH), "lacks weights of GLPNForDepthEstimation"),
        (
            "another architecture",
            checkpoint(unchanged, student=segmenter("mobilenet_v2")),
            "lacks weights of ",
        ),
        ("more classes", checkpoint(unchanged, student=segmenter("segformer", 7)), "lacks weights of "),
        ("another teacher", checkpoint(unchanged, teacher=segmenter("segformer")), "teacher was .* and is "),
        ("a plain Trainer", checkpoint(of_plain_trainer), "holds a student and no structkd_manifest.json"),
        ("cut settings", checkpoint(cut(SETTINGS)), f"its {SETTINGS} has .* bytes in place of "),
        ("cut settings, listed", checkpoint(cut(SETTINGS), listed=True), CUT_SETTINGS),
        ("list of settings", checkpoint(written(SETTINGS, b"[]"), listed=True), CUT_SETTINGS),
        ("no settings", checkpoint(without(SETTINGS), listed=True), CUT_SETTINGS),
        ("cut state", checkpoint(cut(STATE)), f"its {STATE}, which is written last, is missing or cut"),
        ("cut list", checkpoint(cut(MANIFEST)), f"its {MANIFEST} is missing or cut"),
        (
            "list of words",
            checkpoint(written(MANIFEST, b'{"config.json": "big"}')),
            f"its {MANIFEST} is missing or cut",
        ),
        ("list of other files", checkpoint(written(MANIFEST, b'{"no": [1, "a"]}')), "its no is missing"),
        ("cut weights", checkpoint(cut(WEIGHTS)), f"its {WEIGHTS} has .* bytes in place of "),
        ("cut weights, listed", checkpoint(cut(WEIGHTS), listed=True), f"its {WEIGHTS} is damaged"),
        ("no weights", checkpoint(without(WEIGHTS), listed=True), "lacks weights of "),
        ("page for a critic", checkpoint(written(CRITIC, PAGE), listed=True), f"its {CRITIC} is damaged"),
        ("cut optimiser, listed", checkpoint(cut(OPTIMISER), listed=True), f"its {OPTIMISER} is damaged"),
        ("no critic", checkpoint(without(CRITIC), listed=True), f"holds no {CRITIC}"),
        ("a file", checkpoint(a_file), "must name a checkpoint's folder"),
    ),
]
