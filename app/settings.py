"""Settings of the page and of the export; `config.py` has those of the three scripts."""

from dataclasses import dataclass
from pathlib import Path

from config import DATA_DIR, ENGINE_HELP, OPERATING_POINT_HELP, RUNS_DIR
from models import ENGINES, EXPORT_FORMATS, QUANTIZATIONS
from support.cli import Settings, flag

# Of files that cannot be exported, and of files in general.
_NO_MODELS = (".tflite", ".h5", ".hdf5", ".onnx")
_FILE_ENDINGS = (*_NO_MODELS, ".keras", ".pb")


@dataclass(frozen=True, kw_only=True)
class AppConfig(Settings):
    """Settings of `python -m app`."""

    model_path: tuple[str, ...] = flag(
        (),
        "input",
        ".keras files or folders of runs; several: ensemble (default: newest run in "
        f"{RUNS_DIR} that was not trained on synthetic images, else the bundled model)",
    )
    operating_point: str | None = flag(None, "output", OPERATING_POINT_HELP, metavar="POINT")
    engine: str = flag("auto", "run", ENGINE_HELP, choices=ENGINES)
    host: str = flag("127.0.0.1", "run", "address to listen on; 127.0.0.1: this machine only")
    port: int = flag(7860, "run", "port to listen on; 0: any free port", minimum=0, maximum=65535)

    max_upload_bytes: int = 20_000_000
    max_pixels: int = 50_000_000
    max_waiting: int = 8  # requests in work or waiting, before others have to try again later
    upload_seconds: float = 60.0  # an upload that takes longer is rejected
    # A connection on which no complete header of a request arrives for so long is closed.
    request_seconds: float = 10.0
    # Above these, the connection that has waited longest for a request is closed.
    max_connections: int = 128
    max_connections_per_address: int = 64
    shown_size: int = 480  # side length of the images shown, pixels


@dataclass(frozen=True, kw_only=True)
class ExportConfig(Settings):
    """Settings of `python -m app.export`."""

    model_path: str
    data_dir: str | None = flag(
        None,
        "input",
        "folder of the data that the model was trained on (default: that of the model's run, else "
        f"{DATA_DIR})",
    )
    format: str = flag(
        "litert",
        "output",
        "litert: a .tflite file for TensorFlow Lite; onnx: an .onnx file; saved_model: a folder "
        "for TensorFlow Serving",
        choices=tuple(EXPORT_FORMATS),
    )
    quantize: str = flag(
        "float32",
        "output",
        "number format, for litert only; float16: half the size of float32, int8: a third",
        choices=QUANTIZATIONS,
    )
    output: str | None = flag(
        None,
        "output",
        "file or folder to write (default: beside the model, <model>-<quantize>.tflite, "
        "<model>.onnx or <model>-saved_model)",
        metavar="PATH",
    )

    # Training images, balanced by class, on which int8 measures the value range of each layer.
    calibration_images: int = 210
    batch_size: int = 64
    # Calls per model that the latency is the median of.
    timed_calls: int = 50

    def __post_init__(self) -> None:
        super().__post_init__()
        # The folder of a run may have any name.
        if self.model_path.endswith(_NO_MODELS):
            raise ValueError(
                "MODEL should be a .keras file or the folder of a run, received "
                f"{self.model_path!r}"
            )
        if self.format != "litert" and self.quantize != "float32":
            raise ValueError(
                f"--quantize {self.quantize} is for --format litert, received --format "
                f"{self.format}; leave one of them out"
            )
        ending = EXPORT_FORMATS[self.format]
        if self.output is not None and ending and not self.output.endswith(ending):
            raise ValueError(f"--output should end in {ending}, received {self.output!r}")
        if self.output is not None and not ending and Path(self.output).suffix in _FILE_ENDINGS:
            raise ValueError(
                f"--output should be a folder for --format {self.format}, received {self.output!r}"
            )
