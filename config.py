"""Every setting of the three scripts, once, and the presets that replace defaults.

A field declared with `flag` is a command-line flag; any other field is a constant of the recipe, to
be changed here. Importing this file imports no package, so that `--help` appears at once.
"""

from dataclasses import MISSING, dataclass, field
from typing import Any

from models import ENGINES, EXPORT_FORMATS
from models.backbones import MODEL_NAMES
from support.cli import Settings, flag

DATA_DIR = "datasets/HAM10000"
SAMPLE_DIR = "datasets/sample"
RUNS_DIR = "runs"
# Relative to this file, unlike the folders above.
BUNDLED_MODEL = "models/pretrained/efficientnet_lite.keras"


@dataclass(frozen=True, kw_only=True)
class TrainConfig(Settings):
    """Settings of `train.py`; the defaults are those of the MobileNetV2 recipe."""

    data_dir: str = flag(
        DATA_DIR, "data", "folder of HAM10000, of an ISIC challenge, or with one folder per class"
    )
    extra_data_dir: tuple[str, ...] = flag((), "data", "folders of more images to train on")
    source_balance: float = flag(
        0.5, "data", "0: draw each image once; 1: data folders equally", minimum=0.0, maximum=1.0
    )
    classes: str = flag("ham10000", "data", "ham10000, data (all of its labels), or a class list")
    allow_missing: bool = flag(
        False, "data", "train even if more than 1 % of the labels have no image file or no class"
    )
    sample: bool = flag(False, "data", f"generate synthetic images in {SAMPLE_DIR}, train on them")
    split_seed: int = flag(0, "data", "seed of the split by lesion", minimum=0)
    test_fraction: float = flag(
        0.15, "data", "fraction of the images for the test split", minimum=0.0, maximum=0.8
    )
    folds: int = flag(
        0, "data", "number of folds of a cross-validation over the other images; 0: none", minimum=0
    )
    fold: int = flag(0, "data", "fold that validates, from 0; the others train", minimum=0)
    image_size: int = flag(
        MISSING, "data", "side length of the model's input, pixels", minimum=32, maximum=2048
    )

    model: str = flag(
        "mobilenet",
        "model",
        f"{', '.join(MODEL_NAMES)}, or keras:NAME for a network of keras.applications",
    )
    weights: str = flag(
        "imagenet", "model", "initial backbone weights: imagenet, none (random), or a weights file"
    )
    init_from: str | None = flag(
        None, "model", "start from a model of train.py: .keras file or run", metavar="MODEL"
    )
    fine_tune_layers: int = flag(
        MISSING, "model", "final backbone layers to fine-tune (0: none, -1: all)", minimum=-1
    )
    teacher: tuple[str, ...] = flag(
        (), "model", "teachers for distillation: models of train.py", metavar="MODEL"
    )

    head_epochs: int = flag(1, "optimization", "epochs with a frozen backbone", minimum=0)
    epochs: int = flag(16, "optimization", "epochs after the head phase", minimum=0)
    batch_size: int = flag(32, "optimization", "images per step", minimum=1)
    learning_rate: float = flag(
        1e-3, "optimization", "peak rate after the head phase, of a cosine schedule", minimum=0.0
    )

    output_dir: str = flag(RUNS_DIR, "run", "folder in which the run <model>-<time> is created")
    seed: int = flag(
        0, "run", "seed of initial weights, shuffling, augmentation and dropout", minimum=0
    )
    strategy: str = flag(
        "none", "run", "mirrored: all visible GPUs share each batch", choices=("none", "mirrored")
    )
    mixed_precision: bool = flag(
        False, "run", "compute in float16 on GPUs that support it; the head stays in float32"
    )
    tensorboard: bool = flag(
        False, "run", "also write curves and images for TensorBoard, into logs/ of the run"
    )
    resume: str | None = flag(
        None, "run", "continue an interrupted run, with its own settings", metavar="RUN"
    )

    sample_images_per_class: int = 100
    validation_fraction: float = 0.15
    # Few enough to be download errors; a missing archive is many more.
    missing_image_limit: float = 0.01
    # Training images are stored larger than the input by this factor, so that crops stay sharp. At
    # 192 px that is 225 px, half of the 450 px of HAM10000's originals, and the JPEG decoder can
    # halve those itself: twice as fast as with a factor of 1.2.
    stored_size_factor: float = 1.17
    # "auto": decoded images stay in memory if they take at most half of what is free.
    image_store: str = field(default="auto", metadata={"choices": ("auto", "memory", "file")})
    # The head phase and this fraction of the later epochs train on images of this fraction of the
    # full size, rounded to a multiple of 32, the stride of the backbone.
    small_epochs_fraction: float = 0.75
    small_size_fraction: float = 2 / 3
    head_learning_rate: float = 2e-3
    # Warm-up, then cosine decay to zero, or a constant rate.
    lr_schedule: str = field(default="cosine", metadata={"choices": ("cosine", "constant")})
    warmup_fraction: float = 0.1
    weight_decay: float = 1e-4
    label_smoothing: float = 0.05
    dropout: float = 0.3  # before the last layer
    train_batch_norm: bool = True
    # With the 0.999 of Keras, moving statistics lag behind the weights by thousands of steps.
    batch_norm_momentum: float = 0.98
    # Fraction of the loss that comes from the teachers (the rest: from the labels), and the
    # temperature of their soft targets.
    distillation_fraction: float = 0.9
    distillation_temperature: float = 2.0
    # Weight of a class in the loss: its inverse frequency ("balanced"), or the square root of that.
    class_weights: str = field(default="sqrt", metadata={"choices": ("none", "balanced", "sqrt")})
    # Multiplies the log class frequencies that are added to the logits in training. 0.3 raises the
    # recall of rare classes, and costs more accuracy than it gains balanced accuracy.
    logit_adjustment: float = 0.0
    # A lesion has no upright orientation: every angle is equally likely.
    rotation_degrees: float = 180.0
    flip: bool = True
    view: tuple[float, float] = (0.7, 1.1)
    shift: float = 0.08
    brightness: float = 0.1
    contrast: float = 0.15
    color_cast: float = 0.08
    sharpness: float = 0.7
    # What other dermatoscopes and other patients add: hair or rulers, dark corners, noise.
    hair: float = 0.2
    vignette: float = 0.15
    noise: float = 10.0
    # A prediction is uncertain below the confidence from which on this fraction of the validation
    # images was classified correctly; an image is out of distribution above the score that this
    # fraction of the validation images stays below.
    threshold_accuracy: float = 0.9
    in_distribution_fraction: float = 0.99
    # A data set of whose validation images more than this fraction look like photographs taken
    # without a dermatoscope has such photographs; the model then does not warn about them.
    photograph_fraction: float = 0.05
    # A prediction set has to hold the true class in this fraction of cases.
    set_coverage: float = 0.9
    detector_components: int = 64
    # The validation metric that chooses the best epoch, and for how many epochs it may not improve.
    monitor: str = field(default="loss", metadata={"choices": ("loss", "balanced_accuracy")})
    patience: int = 20
    # The model is evaluated and saved with weights averaged over about this many epochs; 0: none.
    average_epochs: float = 0.6

    def stored_size(self, image_size: int) -> int:
        """Return the side length at which training images of a phase are stored, pixels."""
        return round(image_size * self.stored_size_factor)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.init_from is not None and self.weights != "none":
            raise ValueError("--init_from brings its own initial weights; remove --weights")
        if self.model == "sequential" and self.weights != "none":
            raise ValueError(
                f"--model sequential has random initial weights, received --weights {self.weights}"
                "; remove --weights, or choose --model mobilenet"
            )
        if self.fold >= max(self.folds, 1):
            raise ValueError(
                f"--fold should be below --folds, received {self.fold} of {self.folds} folds"
            )
        if self.folds == 1:
            raise ValueError("--folds should be at least 2, or 0 for none, received 1")
        if self.epochs + self.head_epochs == 0:
            raise ValueError("--epochs and --head_epochs are both 0, so there is nothing to train")


# A short schedule from random weights never overfits.
_MILD_AUGMENTATION = {
    "view": (0.8, 1.2),
    **dict.fromkeys(("color_cast", "sharpness", "hair", "vignette", "noise"), 0.0),
}

# What replaces the defaults above, by model and by start; a flag that is given wins.
PRESETS: dict[str, dict[str, Any]] = {
    "sequential": {
        "image_size": 96,
        "weights": "none",
        "fine_tune_layers": 0,
        "head_epochs": 0,
        "epochs": 15,
        "learning_rate": 2e-3,
        "average_epochs": 0.0,
        **_MILD_AUGMENTATION,
    },
    # Small images save time; with a few hundred of them, batches of 32 would give too few steps.
    "sample": {
        "data_dir": SAMPLE_DIR,
        "image_size": 80,
        "weights": "none",
        "small_epochs_fraction": 0.0,
        "batch_size": 16,
    },
    # Without ImageNet weights there is nothing to keep frozen.
    "from_scratch": {
        "fine_tune_layers": -1,
        "head_epochs": 0,
        "epochs": 24,
        "small_epochs_fraction": 0.0,
        "learning_rate": 3e-3,
        "batch_norm_momentum": 0.9,
        "average_epochs": 0.0,
        **_MILD_AUGMENTATION,
    },
    # For a few hundred images of one's own: small batches, so that an epoch has enough steps.
    "init_from": {
        "weights": "none",
        "epochs": 12,
        "small_epochs_fraction": 0.0,
        "batch_size": 16,
        "learning_rate": 6e-4,
    },
    # Transformers and similar networks forget their pretraining at higher rates.
    "convnext": {"learning_rate": 1e-4},
    "vit": {"learning_rate": 1e-4},
}


_COLUMNS_HELP = "isic2018: those of the ISIC 2018 challenge, Task 3"
_TTA_HELP = "test-time augmentation: mean over eight flips and rotations, 8 times slower"
_EXPORTED = tuple(filter(None, EXPORT_FORMATS.values()))
ENGINE_HELP = "what runs a .keras file; auto: LiteRT, or with a GPU Keras"
OPERATING_POINT_HELP = (
    "also say whether the score reaches this threshold, such as malignant=sensitivity_0.90"
)


def _refuse_exported(flag_text: str, model_paths: tuple[str, ...]) -> None:
    """Refuse a flag for exported files: they have an engine of their own, and no heat maps.

    Raises:
        ValueError: there is such a file.
    """
    for path in model_paths:
        if path.endswith(_EXPORTED):
            raise ValueError(f"{flag_text} needs the .keras file of a model, received {path}")


@dataclass(frozen=True, kw_only=True)
class EvaluateConfig(Settings):
    """Settings of `evaluate.py`."""

    model_path: tuple[str, ...] = flag(
        (),
        "input",
        ".keras, .tflite or .onnx files, or folders of runs; several: folds of one split, or an "
        "ensemble",
        required=True,
    )
    data_dir: str | None = flag(
        None, "input", f"labels and images (default: those of the model's run, else {DATA_DIR})"
    )
    split: str | None = flag(
        None,
        "input",
        "train, val: those of the model; test: images that the model does not know, by id, lesion, "
        "patient, pixels or near-duplicate; all (default: test; for folds val, out of fold)",
        choices=("train", "val", "test", "all"),
    )
    output_dir: str | None = flag(
        None, "output", "folder of the results (default: evaluation-<split>/ beside the models)"
    )
    compare: str | None = flag(None, "input", "predictions.csv to compare with", metavar="FILE")
    columns: str | None = flag(
        None,
        "output",
        f"also write submission.csv with these columns; {_COLUMNS_HELP}",
        choices=("isic2018",),
    )
    prevalence: tuple[str, ...] = flag(
        (), "output", "also give PPV and NPV at this prevalence, such as malignant=0.05"
    )
    tta: bool = flag(False, "run", _TTA_HELP)
    batch_size: int = flag(64, "run", "images per step", minimum=1)
    engine: str = flag("auto", "run", ENGINE_HELP, choices=ENGINES)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.engine != "auto":
            _refuse_exported(f"--engine {self.engine}", self.model_path)


@dataclass(frozen=True, kw_only=True)
class PredictConfig(Settings):
    """Settings of `predict.py`."""

    image: tuple[str, ...] = flag(
        (), "input", "image files, folders, and patterns such as 'dir/*.jpg'", required=True
    )
    model_path: tuple[str, ...] = flag(
        (),
        "input",
        ".keras, .tflite or .onnx files, or folders of runs; several: ensemble (default: newest "
        f"run in {RUNS_DIR} that was not trained on synthetic images, else the bundled model)",
    )
    top_k: int = flag(3, "output", "number of classes shown per image", minimum=1)
    operating_point: str | None = flag(None, "output", OPERATING_POINT_HELP, metavar="POINT")
    output: str | None = flag(
        None, "output", "write a table of all predictions, a .csv or .json file", metavar="FILE"
    )
    columns: str | None = flag(
        None,
        "output",
        f"columns of the table (default: all that the model tells); {_COLUMNS_HELP}",
        choices=("isic2018",),
    )
    explain: str | None = flag(
        None, "output", "write a Grad-CAM heat map of each image into a folder", metavar="DIR"
    )
    explain_class: str | None = flag(
        None, "output", "class to explain (default: the predicted class)"
    )
    tta: bool = flag(False, "run", _TTA_HELP)
    batch_size: int = flag(32, "run", "images per step", minimum=1)
    engine: str = flag("auto", "run", ENGINE_HELP, choices=ENGINES)
    verbose: bool = flag(False, "run", "also print what runs the model")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.engine != "auto":
            _refuse_exported(f"--engine {self.engine}", self.model_path)
        if self.output is not None and not self.output.endswith((".csv", ".json")):
            raise ValueError(f"--output should end in .csv or .json, received {self.output!r}")
        if self.columns is not None and not (self.output or "").endswith(".csv"):
            raise ValueError(
                f"--columns {self.columns} needs --output FILE.csv, received "
                f"{self.output or 'no --output'}; give a .csv file"
            )
        if self.explain_class is not None and self.explain is None:
            raise ValueError("--explain_class needs --explain DIR; give both")
        if self.explain is not None:
            _refuse_exported("--explain", self.model_path)
