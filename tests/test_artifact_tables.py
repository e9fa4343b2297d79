"""Tables of artifacts beside the labels: read as what they are, never as labels."""

import warnings

import numpy as np
import pytest
from PIL import Image

from data import DataWarning
from data.artifact_tables import read_artifacts
from data.sources import read_dataset

TABLE = "image,hair,ruler,note\nISIC_1.jpg,1.0,0,x\nISIC_2,0.0,,y\nISIC_9,1,1,z\n"


@pytest.fixture
def folder(tmp_path):
    """Images and labels with a column per class, and a table of artifacts."""
    for name in ("ISIC_1", "ISIC_2", "ISIC_3"):
        pixels = np.random.default_rng(int(name[-1])).integers(0, 256, (16, 20, 3), np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{name}.png")
    (tmp_path / "labels.csv").write_text("image,wart,corn\nISIC_1,1,0\nISIC_2,0,1\nISIC_3,1,0\n")
    (tmp_path / "artefacts.csv").write_text(TABLE)
    return tmp_path


def test_columns_of_0_and_1_are_artifacts(folder):
    expected = {"hair": [False, True, None], "ruler": [None, False, None]}
    ids = ["ISIC_2", "ISIC_1", "ISIC_3"]
    assert read_artifacts(folder, ids) == expected
    # Of a table of labels, the folder that it is in.
    assert read_artifacts(folder / "labels.csv", ids) == expected
    (folder / "artefacts.csv").rename(folder / "Artifacts.csv")
    assert read_artifacts(folder, ids) == expected


def test_a_table_of_artifacts_is_no_table_of_labels(folder):
    with pytest.warns(DataWarning, match="no lesion_id"):
        dataset = read_dataset(folder, None)
    assert dataset.frame["label"].tolist() == ["wart", "corn", "wart"]
    (folder / "labels.csv").unlink()
    for name, image in (("wart", "ISIC_1.png"), ("corn", "ISIC_2.png")):
        (folder / name).mkdir()
        (folder / image).rename(folder / name / image)
    with pytest.warns(DataWarning, match="no lesion_id"):
        assert "class" in read_dataset(folder, None).layout


def test_without_a_table_of_these_images_nothing_is_read(folder):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert read_artifacts(folder, ["ISIC_4"]) == {}
        (folder / "artefacts.csv").unlink()
        assert read_artifacts(folder, ["ISIC_1"]) == {}


@pytest.mark.parametrize(
    "text", ["image,hair\nISIC_1,much\n", "hair\n1\n", "image,dx\nISIC_1,nv\n"]
)
def test_a_table_that_cannot_be_used_is_warned_of(folder, text):
    (folder / "artefacts.csv").write_text(text)
    with pytest.warns(DataWarning, match=r"^artifacts are not measured: .*: expected"):
        assert read_artifacts(folder, ["ISIC_1"]) == {}
