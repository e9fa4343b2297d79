"""Predictions on a cluster, as far as they need no Ray."""

import os

import pandas as pd
import pytest

from cluster.connection import Share
from cluster.parts import Parts, build_key, join_skipped, list_images, write_part
from cluster.place import Place
from cluster.predict import count_skipped
from cluster.settings import ClusterPredictConfig
from models.bundle import save_model
from models.checksums import file_checksum
from models.factory import build_model
from support import InputError

PLACE = Place(os.getcwd(), Share(2, 0))


def test_images_come_from_files_folders_and_lists(tmp_path, sample_dir):
    images = sorted(map(str, sample_dir.rglob("*.jpg")))
    (tmp_path / "list.txt").write_text("\n".join([images[3], "", images[1], "gone.jpg"]))
    paths = list_images([str(sample_dir), str(tmp_path / "list.txt")])
    assert paths == [*images, images[3], images[1], "gone.jpg"]
    for encoding in ("utf-8-sig", "utf-16"):  # as programs of Windows save lists
        (tmp_path / "list.txt").write_text(images[0], encoding=encoding)
        assert list_images([str(tmp_path / "list.txt")]) == [images[0]]
    (tmp_path / "list.txt").write_text("\n")
    with pytest.raises(InputError, match=r"expected a path per line in .*, found none"):
        list_images([str(tmp_path / "list.txt")])


def test_parts_of_other_images_or_models_are_not_taken_for_finished(tmp_path):
    model = tmp_path / "model.keras"
    model.write_bytes(b"a")
    keys = [
        build_key(["a", "b"], [file_checksum(model)], (False,)),
        build_key(["ab"], [file_checksum(model)], (False,)),
    ]
    keys.append(build_key(["a", "b"], [file_checksum(model)], (True,)))
    model.write_bytes(b"b")
    keys.append(build_key(["a", "b"], [file_checksum(model)], (False,)))
    # An image that is replaced is another one.
    keys.append(build_key([str(model)], [], ()))
    model.write_bytes(b"longer")
    keys.append(build_key([str(model)], [], ()))
    assert len({*keys}) == 6
    parts = Parts(tmp_path, keys[0], ["a", "b", "c", "d", "e"], 2)
    assert [parts.images(index) for index in range(len(parts))] == [["a", "b"], ["c", "d"], ["e"]]
    assert parts.find_missing() == [0, 1, 2]
    parts.file(1).touch()
    assert parts.find_missing() == [0, 2]
    other = Parts(tmp_path, keys[1], parts.paths, 2)
    with pytest.raises(InputError, match=r"received 1 file of them in .*; remove them"):
        other.find_missing()


def test_a_model_that_changed_since_the_start_is_not_mixed_in(tmp_path, monkeypatch):
    pytest.importorskip("pyarrow")
    from cluster.worker import Worker

    monkeypatch.setattr(Share, "prepare", lambda *_: None)
    path = tmp_path / "model.keras"
    save_model(build_model("sequential", image_size=32, class_names=("mel", "nv")), path)
    settings = ClusterPredictConfig(image=("x",), output="out.parquet")
    part = {"paths": ["x.jpg"], "file": str(tmp_path / "part.parquet")}
    row = Worker(settings, [(str(path), "0" * 64)], PLACE)(part)
    assert row["error"].endswith("model.keras: the file changed while it was in use; start again")
    same = 2 * [(str(path), file_checksum(path))]
    twice = Worker(settings, same, PLACE)(part)
    assert "expected different models, received" in twice["error"]
    assert not (tmp_path / "part.parquet").exists()


def test_a_skipped_image_is_a_row_at_its_place_and_types_do_not_depend_on_it(tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")
    table = pd.DataFrame({"image": ["b"], "predicted": ["nv"], "uncertain": [True]})
    table["prob_nv"] = 0.5
    paths = ["a\udcff", "b"]
    joined = join_skipped(table, paths, {0: "a: broken"})
    assert joined["image"].tolist() == ["a\\xff", "b"]
    assert joined["skipped"].dropna().to_dict() == {0: "a: broken"}
    write_part(joined, tmp_path / "one.parquet")
    write_part(join_skipped(table[:0], ["x"], {0: "x: gone"}), tmp_path / "two.parquet")
    one, two = (parquet.read_table(tmp_path / f"{name}.parquet") for name in ("one", "two"))
    # Another file in the folder is no part.
    (tmp_path / "notes.txt").write_text("mine")
    parts = Parts(tmp_path, "0", paths, 2)
    os.replace(tmp_path / "one.parquet", parts.file(0))
    assert count_skipped(parts) == 1
    assert one.schema == two.schema
    assert one.to_pylist()[1] == {
        **{"image": "b", "predicted": "nv", "uncertain": True, "prob_nv": 0.5, "skipped": None}
    }
    assert two.to_pylist()[0]["uncertain"] is None
