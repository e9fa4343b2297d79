"""Fixtures that several test files share."""

import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# As `models.backend` does for a training, which is too late if a test has imported TensorFlow.
os.environ.setdefault("TF_NUM_INTEROP_THREADS", "1")


@pytest.fixture(autouse=True)
def _no_network(monkeypatch, tmp_path_factory):
    """Keep tests off the network and away from the user's own weights."""
    monkeypatch.setenv("KERAS_HOME", str(tmp_path_factory.mktemp("keras")))
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")


@pytest.fixture(scope="session")
def sample_dir(tmp_path_factory) -> Path:
    """A synthetic data set of 70 images, written once."""
    from data.sample import write_sample_dataset

    return write_sample_dataset(
        tmp_path_factory.mktemp("datasets") / "sample", images_per_class=10, seed=0
    )


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


@pytest.fixture(scope="session")
def ham10000_dir() -> str:
    """The folder of the real HAM10000; tests that need it are skipped without it."""
    if "HAM10000_DIR" not in os.environ:
        pytest.skip("HAM10000_DIR is not set")
    return os.environ["HAM10000_DIR"]
