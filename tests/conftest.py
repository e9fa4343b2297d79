"""Fixtures that several test files share."""

import contextlib
import gc
import io
import os
import shutil
import zlib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from browsing import serving
from PIL import Image
from script_runs import SMALL, run_evaluation

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# As `models.backend` does for a training, which is too late if a test has imported TensorFlow.
os.environ.setdefault("TF_NUM_INTEROP_THREADS", "1")


def pytest_collection_finish():
    """Let the garbage collector pass over the many objects of the imported packages."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def _no_network(monkeypatch, tmp_path_factory):
    """Keep tests off the network and away from the user's own weights."""
    monkeypatch.setenv("KERAS_HOME", str(tmp_path_factory.mktemp("keras")))
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")


@pytest.fixture(scope="session", autouse=True)
def _convert_models_once(tmp_path_factory):
    """Share the conversions of model files: many tests ask the bundled model."""
    folder = tmp_path_factory.mktemp("conversions")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("models.conversion_cache.cache_folder", lambda: folder)
        yield


@pytest.fixture(scope="session")
def sample_dir(tmp_path_factory) -> Path:
    """A synthetic data set of 70 images, written once."""
    from data.sample import write_sample_dataset

    return write_sample_dataset(
        tmp_path_factory.mktemp("datasets") / "sample", images_per_class=10, seed=0
    )


@pytest.fixture(scope="session", autouse=True)
def _search_images_once():
    """Search the same images for near-duplicates once: many tests train on the sample data."""
    from training import duplicates

    search, found = duplicates.find_near_duplicates, {}

    def remember(*sets, on_progress=None):
        key = tuple(images and (images.pixels.tobytes(), *images.usable) for images in sets)
        if key not in found:
            found[key] = search(*sets, on_progress=on_progress)
        return found[key]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(duplicates, "find_near_duplicates", remember)
        yield


@pytest.fixture(scope="module")
def models_loaded_once():
    """Load each model file once, where the tests of a module ask the same model again and again."""
    from models import classifier

    load, loaded = classifier.load_classifier, {}

    def remember(path, *, engine="keras"):
        state = os.stat(path) if os.path.isfile(path) else None
        key = state and (engine, str(path), state.st_ino, state.st_size, state.st_mtime_ns)
        if key not in loaded:
            loaded[key] = load(path, engine=engine)
        return loaded[key]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(classifier, "load_classifier", remember)
        yield


@contextlib.contextmanager
def _two_convolutions():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("models.sequential._BLOCKS", ((8, 1), (16, 1)))
        yield


@pytest.fixture(scope="module")
def shallow_baseline():
    """Give the sequential baseline two convolutions, where a test is not about what it computes.

    Keras takes most of the time of such a test to build, save, load and trace the layers.
    """
    with _two_convolutions():
        yield


@pytest.fixture(scope="session")
def run_dir(sample_dir, tmp_path_factory) -> Path:
    """A run of a shallow sequential baseline on the synthetic images, trained once."""
    import train

    runs = tmp_path_factory.mktemp("runs")
    argv = ["--model", "sequential", "--data_dir", str(sample_dir), "--output_dir", str(runs)]
    with _two_convolutions(), contextlib.redirect_stdout(io.StringIO()) as out:
        assert train.main([*argv, *SMALL, "--epochs", "2"]) == 0
    (found,) = runs.glob("sequential-*")
    (found / "output.txt").write_text(out.getvalue())
    return found


@pytest.fixture(scope="session")
def evaluation(run_dir) -> Path:
    """The evaluation of the test split of `run_dir`, beside the model."""
    model = str(run_dir / "model.keras")
    return run_evaluation(run_dir / "evaluation-test", "--model_path", model)


@pytest.fixture(scope="session")
def evaluations(run_dir, tmp_path_factory) -> dict[str, Path]:
    """The evaluations of the other splits, elsewhere."""
    found = {}
    for split in ("val", "all"):
        folder = tmp_path_factory.mktemp(split)
        argv = ["--model_path", str(run_dir / "model.keras"), "--split", split]
        argv += ["--columns", "isic2018"]
        found[split] = run_evaluation(folder, *argv, "--output_dir", str(folder))
    return found


@pytest.fixture(scope="module")
def untrained_model(shallow_baseline, tmp_path_factory) -> Path:
    """The file of a sequential baseline for images of 32 px, with the classes of HAM10000."""
    from data.ham10000 import CLASS_NAMES
    from models.bundle import save_model
    from models.factory import build_model

    path = tmp_path_factory.mktemp("model") / "good.keras"
    save_model(build_model("sequential", image_size=32, class_names=CLASS_NAMES), path)
    return path


@pytest.fixture
def without_notes(monkeypatch):
    """Keep the note on warnings that a model lacks off stderr."""
    monkeypatch.setattr("models.classifier.Classifier.missing_warnings", "")


@pytest.fixture
def shallow_efficientnet_lite(monkeypatch):
    """Give EfficientNet-Lite three blocks of its sixteen, with all kinds of layers."""
    from models import efficientnet_lite

    monkeypatch.setattr(efficientnet_lite, "_STAGES", efficientnet_lite._STAGES[:2])


@pytest.fixture
def shallow_transformer(monkeypatch):
    """Give the transformer two blocks of its twelve, for the same reason."""
    models = pytest.importorskip("keras_hub").models
    build = models.DeiTBackbone
    monkeypatch.setattr(
        models, "DeiTBackbone", lambda **options: build(**options | {"num_layers": 2})
    )


@pytest.fixture
def ten_paths(tmp_path) -> list[str]:
    """Ten uniform images; the sixth is broken."""
    found = []
    for index in range(10):
        path = tmp_path / f"{index}.png"
        Image.new("RGB", (8, 8), (index, 0, 0)).save(path)
        found.append(str(path))
    Path(found[5]).write_bytes(b"broken")
    return found


@pytest.fixture
def write_ham10000(tmp_path):
    """A function that writes tiny images and a metadata table in a variant of HAM10000's layout."""

    def write(
        labels: dict[str, str],
        *,
        lesions: dict[str, str] | None = None,
        table: str = "HAM10000_metadata.csv",
        folders: tuple[str, ...] = ("HAM10000_images_part_1", "HAM10000_images_part_2"),
        separator: str = ",",
        line_ending: str = "\n",
        with_dataset_column: bool = False,
        with_lesion_id: bool = True,
    ) -> Path:
        root = tmp_path / "data"
        rows = pd.DataFrame({"image_id": list(labels), "dx": list(labels.values())})
        if with_lesion_id:
            lesions = lesions or {image_id: f"HAM_{image_id[5:]}" for image_id in labels}
            rows.insert(0, "lesion_id", rows["image_id"].map(lesions))
        rows = rows.assign(dx_type="histo", age="50.0", sex="male", localization="back")
        if with_dataset_column:
            rows["dataset"] = "vidir_modern"
        for folder in folders:
            (root / folder).mkdir(parents=True, exist_ok=True)
        rows.to_csv(root / table, sep=separator, index=False, lineterminator=line_ending)
        for index, image_id in enumerate(labels):
            folder = root / folders[index * len(folders) // len(labels)]
            pixels = np.full((12, 16, 3), 10 * index, np.uint8)
            Image.fromarray(pixels).save(folder / f"{image_id}.jpg")
        return root

    return write


@pytest.fixture
def write_dataset(tmp_path):
    """A function that writes tables and tiny images, different ones, to a folder."""

    def write_files(tables: dict[str, str], images=(), *, encoding: str = "utf-8") -> Path:
        root = tmp_path / "data"
        root.mkdir(exist_ok=True)
        for name, text in tables.items():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_bytes(text.encode(encoding))
        for name in images:
            rng = np.random.default_rng(zlib.crc32(name.encode()))
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            pixels = rng.integers(0, 256, (9, 12, 3), np.uint8)
            Image.fromarray(pixels).save(root / name, "JPEG")
        return root

    return write_files


@pytest.fixture(scope="session")
def ham10000_dir() -> str:
    """The folder of the real HAM10000; tests that need it are skipped without it."""
    if "HAM10000_DIR" not in os.environ:
        pytest.skip("HAM10000_DIR is not set")
    return os.environ["HAM10000_DIR"]


@pytest.fixture(scope="session")
def selenium():
    """The package that drives the browser; without it, or a browser, the tests are skipped."""
    missing = [name for name in ("chromium", "chromedriver") if shutil.which(name) is None]
    for package in ("selenium", "starlette", "uvicorn"):
        try:
            __import__(package)
        except ModuleNotFoundError:
            missing.append(package)
    if missing:
        reason = f"the browser tests need {', '.join(missing)}"
        if os.environ.get("REQUIRE_BROWSER") == "1":
            pytest.fail(reason)
        pytest.skip(reason)
    import selenium.webdriver

    return selenium


@pytest.fixture(scope="session")
def stores(tmp_path_factory) -> dict[str, Path]:
    """The folders that the page could write to."""
    root = tmp_path_factory.mktemp("stores")
    stores = {name: root / name for name in ("home", "temporary", "work")}
    for folder in stores.values():
        folder.mkdir()
    return stores


@pytest.fixture(scope="session")
def url(selenium, stores):
    """The URL of a page with the bundled model."""
    with serving(stores) as url:
        yield url


@pytest.fixture
def browser(selenium, tmp_path):
    """A headless Chromium that records all its requests."""
    options = selenium.webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium")
    for argument in (
        "--headless=new",
        "--no-sandbox",  # Chromium refuses to run as root with it
        "--disable-dev-shm-usage",
        "--window-size=1280,900",
        "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
        f"--user-data-dir={tmp_path / 'profile'}",
    ):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"performance": "ALL", "browser": "ALL"})
    service = selenium.webdriver.chrome.service.Service(shutil.which("chromedriver"))
    browser = selenium.webdriver.Chrome(options=options, service=service)
    browser.get("about:blank")
    yield browser
    browser.quit()


@pytest.fixture(scope="session")
def lesions(tmp_path_factory) -> dict[str, Path]:
    """Files of synthetic lesions, 200 x 150."""
    from app.examples import generate_lesion_file

    folder = tmp_path_factory.mktemp("lesions")
    files = {name: folder / f"{name}.jpg" for name in ("nv", "mel", "bcc", "vasc")}
    for name, path in files.items():
        path.write_bytes(generate_lesion_file(name, 9))
    return files
