"""Every default of the project, once; the flags of the three scripts derive from it.

Also what the three command lines share: one-line errors and warnings, and a count on the terminal.

A field with a `help` text becomes a flag; a field without one is a constant of the recipe, to be
changed here. Only the standard library is used, so that `--help` answers at once.
"""

import argparse
import dataclasses
import importlib.metadata
import json
import os
import platform
import shlex
import sys
import types
import typing
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

DATA_DIR = "datasets/HAM10000"
SAMPLE_DIR = "datasets/sample"
RUNS_DIR = "runs"
# Relative to this file, unlike the folders above.
PRETRAINED_MODEL = "models/pretrained/mobilenet_ham10000.keras"

PACKAGES = ("tensorflow", "keras", "numpy", "pandas", "scikit-learn", "matplotlib", "pillow")


def flag(
    default: Any,
    group: str,
    help: str,
    *,
    minimum: float | None = None,
    maximum: float | None = None,
    choices: tuple[str, ...] | None = None,
    required: bool = False,
) -> Any:
    """Declare a field that is also a flag.

    Args:
        default: the value without the flag.
        group: heading of `--help` under which the flag stands.
        help: unit and effect in one line.
        minimum: smallest number allowed.
        maximum: largest number allowed.
        choices: all values allowed.
        required: whether the flag must be given.
    """
    limits = {"minimum": minimum, "maximum": maximum, "choices": choices, "required": required}
    return field(default=default, metadata={"group": group, "help": help, **limits})


class _Checked:
    """Refuses values outside the limits that the fields declare."""

    def __post_init__(self) -> None:
        for item in dataclasses.fields(self):
            value, name = getattr(self, item.name), item.name
            low, high = item.metadata.get("minimum"), item.metadata.get("maximum")
            choices = item.metadata.get("choices")
            # Written so that "not a number" fails as well.
            if low is not None and value is not None and not value >= low:
                raise ValueError(f"--{name} must be at least {low}, received {value}")
            if high is not None and value is not None and not value <= high:
                raise ValueError(f"--{name} must be at most {high}, received {value}")
            if choices and value not in choices:
                raise ValueError(
                    f"--{name} must be one of {', '.join(choices)}, received {value!r}"
                )


@dataclass(frozen=True)
class TrainConfig(_Checked):
    """Settings of `train.py`; the defaults are those of the MobileNetV2 recipe."""

    data_dir: str = flag(
        DATA_DIR, "data", "folder of HAM10000, of an ISIC challenge, or with a folder a class"
    )
    extra_data_dir: tuple[str, ...] = flag(
        (), "data", "folders of further images, to learn from only; in the same layouts"
    )
    allow_missing: bool = flag(
        False, "data", "train although more than 1 % of the labelled images have no file"
    )
    sample: bool = flag(False, "data", f"make up a small data set in {SAMPLE_DIR} and train on it")
    image_size: int | None = flag(
        None,
        "data",
        "side of the model's input, pixels; else the model's own",
        minimum=32,
        maximum=2048,
    )

    model: str = flag("mobilenet", "model", "architecture")
    weights: str = flag(
        "imagenet", "model", "start of the backbone: imagenet, none, or the PATH of a weights file"
    )
    fine_tune_layers: int | None = flag(
        None,
        "model",
        "last backbone layers that learn after the head, 0 none, -1 all; else the model's own",
        minimum=-1,
    )
    dropout: float = flag(
        0.3, "model", "share of features dropped before the last layer", minimum=0.0, maximum=0.95
    )

    head_epochs: int = flag(1, "optimization", "epochs on the frozen backbone", minimum=0)
    epochs: int = flag(16, "optimization", "epochs after the head phase", minimum=0)
    batch_size: int = flag(32, "optimization", "images per step", minimum=1)
    head_learning_rate: float = flag(
        2e-3, "optimization", "highest Adam step size of the head phase", minimum=0.0
    )
    learning_rate: float = flag(
        1e-3, "optimization", "highest Adam step size after the head phase", minimum=0.0
    )
    lr_schedule: str = flag(
        "cosine",
        "optimization",
        "warm-up, then cosine to zero or constant",
        choices=("cosine", "constant"),
    )
    class_weights: str = flag(
        "sqrt",
        "optimization",
        "weight of a class: none, inverse frequency (balanced), or its square root",
        choices=("none", "balanced", "sqrt"),
    )
    label_smoothing: float = flag(
        0.05, "optimization", "probability spread over all classes", minimum=0.0, maximum=0.5
    )
    monitor: str = flag(
        "loss",
        "optimization",
        "validation figure that chooses the best epoch and stops early",
        choices=("loss", "balanced_accuracy"),
    )
    patience: int = flag(
        20, "optimization", "epochs without improvement until training stops", minimum=1
    )

    output_dir: str = flag(RUNS_DIR, "run", "folder that receives the run <model>-<time>")
    seed: int = flag(0, "run", "seed of split, shuffling, augmentation and dropout", minimum=0)
    strategy: str = flag(
        "none",
        "run",
        "none: one device; mirrored: all visible GPUs of this machine share each batch",
        choices=("none", "mirrored"),
    )
    mixed_precision: bool = flag(
        False, "run", "compute in float16 on a GPU that is faster so; the last layers in float32"
    )
    resume: str | None = flag(
        None, "run", "go on with a training that was stopped, by its own settings: its folder RUN"
    )

    sample_images_per_class: int = 100
    validation_share: float = 0.15
    test_share: float = 0.15
    # Rare enough to be a slip of the download, not a missing archive.
    missing_image_limit: float = 0.01
    # Training pictures are kept this much larger than the input, so that a zoomed-in crop of
    # them is still sharp. By default that is 225 pixels, half of the 450 of HAM10000's originals,
    # and the JPEG decoder halves them by itself: twice as fast as with 1.2.
    stored_size_factor: float = 1.17
    # "auto" keeps the decoded pictures in memory when they take at most half of what is free.
    image_store: str = field(default="auto", metadata={"choices": ("auto", "memory", "file")})
    # The head, and this share of the epochs after it, learn from pictures of this share of the
    # size, rounded to a multiple of 32, by which the backbone divides: half the time, no loss.
    small_epochs_share: float = 0.75
    small_size_share: float = 2 / 3
    warmup_share: float = 0.1
    weight_decay: float = 1e-4
    # Keras's 0.999 would lag behind the weights by thousands of steps.
    batch_norm_trains: bool = True
    batch_norm_momentum: float = 0.98
    # Training adds this share of the log class shares to the logits. With 0.3 the model answers
    # with rare classes more often, and loses more accuracy than it gains balanced accuracy.
    logit_adjustment: float = 0.0
    # A lesion has no upright side: every angle is as likely.
    rotation_degrees: float = 180.0
    flip: bool = True
    view: tuple[float, float] = (0.7, 1.1)
    shift: float = 0.08
    brightness: float = 0.1
    contrast: float = 0.15
    color_cast: float = 0.08
    sharpness: float = 0.7
    # The warnings of a model: an answer is called unsure below the confidence from which on this
    # share of the validation images was answered rightly; a picture is called unlike those of the
    # training above the score that this share of the validation images stays under.
    unsure_accuracy: float = 0.9
    familiar_share: float = 0.99
    detector_components: int = 64
    # Kept are the weights averaged over about the last so many epochs; 0 keeps the last ones.
    average_epochs: float = 0.6

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.model == "sequential" and self.weights != "none":
            raise ValueError(
                f"--model sequential starts from random weights, received --weights {self.weights}"
                "; leave --weights out, or choose --model mobilenet"
            )
        if self.epochs + self.head_epochs == 0:
            raise ValueError("--epochs and --head_epochs are both 0; there is nothing to train")


# A short schedule from random weights never comes to overfit.
_MILD_AUGMENTATION = {"view": (0.8, 1.2), "color_cast": 0.0, "sharpness": 0.0}

# What differs from the defaults above, by what is trained and how; a flag that is given wins.
PRESETS: dict[str, dict[str, Any]] = {
    "sequential": {
        "image_size": 96,
        "weights": "none",
        "head_epochs": 0,
        "epochs": 15,
        "learning_rate": 2e-3,
        "average_epochs": 0.0,
        **_MILD_AUGMENTATION,
    },
    # Transformers, and what is built like them, lose what they know by larger steps.
    "convnext": {"learning_rate": 1e-4},
    "vit": {"learning_rate": 1e-4},
    # Small pictures for the sake of time; a few hundred give too few steps in batches of 32.
    "sample": {
        "data_dir": SAMPLE_DIR,
        "image_size": 80,
        "head_epochs": 2,
        "epochs": 8,
        "small_epochs_share": 0.0,
        "batch_size": 16,
    },
    # Without ImageNet there is nothing to keep frozen.
    "from_scratch": {
        "head_epochs": 0,
        "epochs": 24,
        "small_epochs_share": 0.0,
        "learning_rate": 3e-3,
        "fine_tune_layers": -1,
        "batch_norm_momentum": 0.9,
        "average_epochs": 0.0,
        **_MILD_AUGMENTATION,
    },
}


@dataclass(frozen=True)
class EvaluateConfig(_Checked):
    """Settings of `evaluate.py`."""

    model_path: str = flag("", "input", "the .keras or .tflite file to measure", required=True)
    data_dir: str | None = flag(
        None,
        "input",
        f"folder with metadata and images (default: the model's own, else {DATA_DIR})",
    )
    split: str = flag(
        "test",
        "input",
        "test: only lesions the model neither learned from nor was chosen by; all: every image",
        choices=("train", "val", "test", "all"),
    )
    output_dir: str | None = flag(
        None, "output", "folder of the results (default: evaluation-<split>/ beside the model)"
    )
    tta: bool = flag(
        False, "run", "mean over the eight flips and quarter turns, at eight times the time"
    )
    batch_size: int = flag(64, "run", "images per step", minimum=1)


@dataclass(frozen=True)
class PredictConfig(_Checked):
    """Settings of `predict.py`."""

    image: tuple[str, ...] = flag((), "input", "image files and folders of images", required=True)
    model_path: str | None = flag(
        None,
        "input",
        f"the .keras or .tflite file (default: newest run's in {RUNS_DIR}, else the shipped model)",
    )
    top_k: int = flag(3, "output", "classes shown for an image", minimum=1)
    output: str | None = flag(None, "output", "also write a table, F.csv or F.json")
    explain: str | None = flag(
        None, "output", "also write a picture of where the model looked for each image, into DIR"
    )
    explain_class: str | None = flag(
        None, "output", "class to explain (default: the most probable one)"
    )
    tta: bool = flag(
        False, "run", "mean over the eight flips and quarter turns, at eight times the time"
    )
    batch_size: int = flag(32, "run", "images per step", minimum=1)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.output is not None and not self.output.endswith((".csv", ".json")):
            raise ValueError(f"--output must end in .csv or .json, received {self.output!r}")
        if self.explain_class is not None and self.explain is None:
            raise ValueError("--explain_class says what --explain DIR draws; give both")
        if self.explain is not None and (self.model_path or "").endswith(".tflite"):
            raise ValueError(
                f"--explain needs the .keras file of the model, received {self.model_path}"
            )


@dataclass(frozen=True)
class AppConfig(_Checked):
    """Settings of `python -m app`."""

    model_path: str | None = flag(
        None,
        "input",
        f"the .keras file to use (default: the newest run's in {RUNS_DIR}, else the shipped model)",
    )
    host: str = flag("127.0.0.1", "run", "address to listen at; 127.0.0.1: this machine only")
    port: int = flag(7860, "run", "port to listen at; 0: any free one", minimum=0, maximum=65535)

    max_upload_bytes: int = 20_000_000
    max_pixels: int = 50_000_000
    # Pictures in work or waiting; who comes when there are so many is asked to come again.
    max_waiting: int = 8
    # A picture that takes longer to arrive is given up.
    upload_seconds: float = 60.0
    # Side of the pictures shown, pixels.
    shown_size: int = 480


class ArgumentParser(argparse.ArgumentParser):
    """An `argparse` parser that takes whole flags only, and whose errors are one line."""

    def __init__(self, **options: Any) -> None:
        super().__init__(allow_abbrev=False, **options)

    def error(self, message: str) -> typing.NoReturn:
        self.exit(2, f"{self.prog}: error: {message} (see {self.prog} --help)\n")


def add_arguments(
    parser: argparse.ArgumentParser, config_class: type, *, choices: dict[str, tuple] | None = None
) -> None:
    """Add one flag for each field of a configuration that carries a help text.

    Args:
        parser: receives the flags, in the groups that the fields name.
        config_class: one of the dataclasses of this module.
        choices: values allowed for a field, where only the caller knows them.
    """
    groups: dict[str, Any] = {}
    for item in dataclasses.fields(config_class):
        if "help" not in item.metadata:
            continue
        name = item.metadata["group"]
        if name not in groups:
            groups[name] = parser.add_argument_group(name)
        # Suppressed defaults leave only what was typed in the namespace, so that presets can
        # stand between the defaults and the flags.
        options: dict[str, Any] = {
            "default": argparse.SUPPRESS,
            "help": _help_with_default(item),
            "required": item.metadata["required"],
        }
        if item.type is bool:
            options["action"] = "store_true"
        else:
            allowed = (choices or {}).get(item.name, item.metadata["choices"])
            options |= {"type": _value_type(item), "choices": allowed}
            if allowed is None:
                options["metavar"] = item.name.rpartition("_")[2].upper()
            if typing.get_origin(item.type) is tuple:
                options["nargs"] = "+"
        groups[name].add_argument(f"--{item.name}", **options)


def load_stopped(args: argparse.Namespace) -> TrainConfig:
    """Return the settings of the training that `--resume` names.

    Args:
        args: the parsed flags of `train.py`.

    Raises:
        ValueError: other flags are given, the folder holds no run, or its `config.json` is
            damaged.
    """
    others = [name for name in vars(args) if name != "resume"]
    if others:
        raise ValueError(
            f"--resume goes on by the settings of the run; leave out --{', --'.join(others)}"
        )
    path = Path(args.resume, "config.json")
    if not path.is_file():
        raise ValueError(f"--resume should name the folder of a run, found no {path}")
    return dataclasses.replace(load(TrainConfig, path), resume=args.resume)


def from_args(config_class: type, args: argparse.Namespace, presets: tuple[str, ...] = ()) -> Any:
    """Build a configuration: defaults, then the named presets in order, then the typed flags.

    Args:
        config_class: one of the dataclasses of this module.
        args: the parsed flags.
        presets: keys of `PRESETS`, later ones winning.

    Raises:
        ValueError: a value is outside its limits.
    """
    values: dict[str, Any] = {}
    for preset in presets:
        values |= PRESETS[preset]
    for name, value in vars(args).items():
        values[name] = tuple(value) if isinstance(value, list) else value
    return config_class(**values)


def train_presets(args: argparse.Namespace) -> tuple[str, ...]:
    """Name the presets that the flags of `train.py` ask for.

    Args:
        args: the parsed flags.

    Raises:
        ValueError: flags exclude each other.
    """
    presets = []
    model = getattr(args, "model", TrainConfig.model)
    if model == "sequential":
        presets.append("sequential")
        for name in ("head_epochs", "head_learning_rate", "fine_tune_layers"):
            if name in args:
                raise ValueError(f"--{name} is for pre-trained backbones; sequential has none")
    if "sample" in args:
        presets.append("sample")
        if "data_dir" in args:
            raise ValueError("--sample brings its own data: give --sample or --data_dir, not both")
    if "sequential" not in presets and getattr(args, "weights", "") == "none":
        presets.append("from_scratch")
    if model in PRESETS and model not in presets:
        presets.append(model)
    return tuple(presets)


def save(config: Any, path: Path) -> None:
    """Write all settings, the versions of the packages and the command as JSON, whole or not."""
    record = {
        "command": shlex.join(["python", Path(sys.argv[0]).name, *sys.argv[1:]]),
        "config": dataclasses.asdict(config),
        "versions": {"python": platform.python_version()}
        | {name: importlib.metadata.version(name) for name in PACKAGES},
    }
    part = path.with_name(path.name + ".part")
    part.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    os.replace(part, path)


def load(config_class: type, path: Path) -> Any:
    """Read the settings that `save` wrote.

    Args:
        config_class: the dataclass that was saved.
        path: a `config.json`.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is no configuration of this class.
    """
    try:
        values = json.loads(path.read_text(encoding="utf-8"))["config"]
        return config_class(
            **{name: tuple(v) if isinstance(v, list) else v for name, v in values.items()}
        )
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"{path} should hold the settings of a {config_class.__name__}, received {error}"
        ) from error


def fill_in(settings: Any, values: dict[str, Any]) -> Any:
    """Return the settings with these values where they have none."""
    missing = {name: value for name, value in values.items() if getattr(settings, name) is None}
    return dataclasses.replace(settings, **missing)


def augmentation_options(settings: TrainConfig) -> dict[str, Any]:
    """Return what `data.augmentation.build_augmentation` takes besides the size."""
    return {
        "rotation_degrees": settings.rotation_degrees,
        "flip": settings.flip,
        "view": settings.view,
        "shift": settings.shift,
        "brightness": settings.brightness,
        "contrast": settings.contrast,
        "color_cast": settings.color_cast,
        "sharpness": settings.sharpness,
    }


def make_folder(folder: Path) -> str:
    """Make a folder for results, unless it is there; returns why it cannot be written, or ""."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return "" if os.access(folder, os.W_OK) else "it is read-only"
    except OSError as error:
        return error.strerror or str(error)


def run(main: Callable[[], int]) -> typing.NoReturn:
    """Run a script and exit with its code."""
    # A console that cannot show a bar or an accent gets a question mark, not a traceback.
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="replace")
    sys.exit(main())


def show_warning(message, category, filename, lineno, file=None, line=None) -> None:
    """Print a warning as one line on stderr; takes the place of `warnings.showwarning`."""
    print(f"warning: {message}", file=sys.stderr)


def show_count(what: str, done: int, total: int) -> None:
    """Keep one line of the terminal up to date, and clear it at the end; silent in a file."""
    if done >= total:
        clear_count()
    elif sys.stderr.isatty():
        print(f"\r{what} {done:,} of {total:,}", end="", file=sys.stderr, flush=True)


def clear_count() -> None:
    """Clear the line of `show_count`, so that another can be printed there."""
    if sys.stderr.isatty():
        print("\r\x1b[K", end="", file=sys.stderr, flush=True)


def _value_type(item: dataclasses.Field) -> type:
    """Return the type of one value: `str` for `str | None` and for `tuple[str, ...]`."""
    if isinstance(item.type, types.UnionType) or typing.get_origin(item.type) is tuple:
        return typing.get_args(item.type)[0]
    return item.type


def _help_with_default(item: dataclasses.Field) -> str:
    text = item.metadata["help"].replace("%", "%%")
    if item.type is bool or item.metadata["required"]:
        return text
    parts = [] if item.default is None else [f"default: {item.default}"]
    parts += [
        f"{name}: {values[item.name]}"
        for name, values in PRESETS.items()
        if item.name in values and values[item.name] != item.default
    ]
    return f"{text} ({'; '.join(parts)})" if parts else text
