"""The web server of the page without a browser, and the command `python -m app`."""

import dataclasses
import io
import json
import signal
import socket
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import config
from app.__main__ import main
from app.examples import choose_examples, generate_lesion_file
from app.server import FILES
from app.settings import AppConfig
from data import DataError
from metrics.decision import OperatingPoint
from models import ModelError

pytest.importorskip("starlette", reason="needs requirements-app.txt")
pytest.importorskip("uvicorn", reason="needs requirements-app.txt")

from tests.serving import echo, send, serving

pytestmark = pytest.mark.usefixtures("shallow_baseline")

ROOT = Path(__file__).parent.parent


def test_simultaneous_requests_each_get_their_own_prediction():
    contents = [bytes([i]) * 50 for i in range(40)]
    with serving(max_waiting=100) as port, ThreadPoolExecutor(10) as pool:
        responses = pool.map(lambda content: send(port, content=content), contents)
        for content, (status, _, response) in zip(contents, responses, strict=True):
            assert status == 200
            assert json.loads(response) == echo(content)


def test_a_rejected_request_gets_a_message_and_no_traceback():
    with serving() as port:
        status, _, content = send(port, content=b"text")
        assert (status, json.loads(content)["error"]) == (
            400,
            "This file cannot be read as an image: not a format.",
        )
        status, _, content = send(port, content=b"x" * 1001)
        assert (status, b"larger than" in content) == (413, True)
        # Also if the header does not announce the length.
        status, _, content = send(port, content=iter([b"x" * 600, b"x" * 600]))
        assert (status, b"larger than" in content) == (413, True)
        status, _, content = send(port, content=b"bug")
        assert (status, b"Something went wrong" in content) == (500, True)
        assert b"secret" not in content


def form(*parts: tuple[str, bytes]) -> tuple[bytes, str]:
    """Return a form with files, by name, and its content type."""
    body = b"".join(
        b'--limit\r\nContent-Disposition: form-data; name="file"; filename="%s"\r\n\r\n%s\r\n'
        % (name.encode(), content)
        for name, content in parts
    )
    return body + b"--limit--\r\n", "multipart/form-data; boundary=limit"


def test_a_program_sends_an_image_or_a_form_with_one_file():
    image = bytes(range(256))
    with serving() as port:
        status, _, content = send(port, "/api/predict", image)
        assert (status, json.loads(content)) == (200, {"image": "image", **echo(image)})
        body, kind = form(("a b.jpg", image))
        status, _, content = send(port, "/api/predict", body, **{"Content-Type": kind})
        assert (status, json.loads(content)) == (200, {"image": "a b.jpg", **echo(image)})
        two, _ = form(("a", b"1"), ("b", b"2"))
        for body in (two, form()[0], b"--limit\r\nbroken", b""):
            status, _, content = send(port, "/api/predict", body, **{"Content-Type": kind})
            assert (status, "form with one file" in json.loads(content)["error"]) == (400, True)
        body = form(("a b.jpg", image))[0]
        for other in ("Multipart/Form-Data; boundary=limit", f"{kind}; charset=utf-8"):
            status, _, content = send(port, "/api/predict", body, **{"Content-Type": other})
            assert (status, json.loads(content)["image"]) == (200, "a b.jpg")
        unknown = {"Content-Type": f"{kind}; charset=undefined"}
        assert send(port, "/api/predict", body, **unknown)[0] == 400
        assert send(port, "/api/predict", b"text")[0] == 400
        assert send(port, "/api/predict", image, Origin="https://evil.example")[0] == 403
        assert json.loads(send(port, "/healthz")[2]) == {"status": "ok"}
        assert send(port, "/docs")[0] == 200
        assert json.loads(send(port, "/predict?class=a", b"1")[2])["class"] == "a"


def test_a_request_may_choose_the_square_that_the_model_sees():
    with serving() as port:
        for path in ("/predict", "/api/predict"):
            status, _, content = send(port, f"{path}?square=1,2.5,30", b"1")
            assert (status, json.loads(content)["square"]) == (200, [1, 2.5, 30])
            assert "square" not in json.loads(send(port, path, b"1")[2])
            for text in ("", "1,2", "1,2,3,4", "1,2,x", "nan,0,9", "0,0,inf"):
                status, _, content = send(port, f"{path}?square={text}", b"1")
                assert status == 400
                assert json.loads(content)["error"] == (
                    "Expected square=LEFT,TOP,SIZE in pixels of the upright image, such as "
                    f"square=120,40,450, received {text!r}; leave it out for the default square."
                )


def test_an_upload_that_takes_too_long_is_rejected():
    with (
        serving(upload_seconds=0.2) as port,
        socket.create_connection(("127.0.0.1", port), timeout=20) as slow,
    ):
        slow.sendall(b"POST /predict HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 10\r\n\r\nab")
        assert b" 408 " in slow.recv(100)


def test_a_request_is_turned_away_when_too_many_are_waiting():
    entered, go_on = threading.Semaphore(0), threading.Event()

    def wait(content: bytes) -> dict:
        entered.release()
        go_on.wait(20)
        return {}

    with serving(wait, max_waiting=1) as port, ThreadPoolExecutor(1) as pool:
        first = pool.submit(send, port, content=b"first")
        assert entered.acquire(timeout=20)
        status, _, content = send(port, content=b"second")
        assert (status, b"Try again in a moment" in content) == (503, True)
        go_on.set()
        assert first.result()[0] == 200
        assert send(port, content=b"third")[0] == 200


def test_the_page_refers_to_no_other_host_and_has_no_other_host_name():
    with serving(hosts=("127.0.0.1", "localhost")) as port:
        for path in (*(path for path in FILES if path != "/docs"), "/settings", "/examples/right"):
            status, headers, content = send(port, path)
            assert status == 200
            assert headers["Cache-Control"] == "no-store"
            assert "default-src 'none'" in headers["Content-Security-Policy"]
            names = content.replace(b"http://www.w3.org/2000/svg", b"")
            assert b"http:" not in names
            assert b"https:" not in names
        assert send(port, "/examples/../../README.md")[0] == 404
        assert send(port, "/", Host="evil.example")[0] == 421
        assert send(port, "/", Host=f"localhost:{port}")[0] == 200


@pytest.fixture(scope="module")
def predictor():
    from app.prediction import Predictor
    from models.classifier import load_classifier

    settings = dataclasses.replace(AppConfig(), max_pixels=100_000, shown_size=64)
    return Predictor(load_classifier(ROOT / config.BUNDLED_MODEL, engine="auto"), settings)


def encode(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def test_the_prediction_is_that_of_predict(predictor, tmp_path, capsys):
    from predict import main as predict

    image = tmp_path / "nv.jpg"
    image.write_bytes(generate_lesion_file("nv", 9))
    argv = ["--image", str(image), "--model_path", str(ROOT / config.BUNDLED_MODEL)]
    assert predict([*argv, "--output", str(tmp_path / "out.json")]) == 0
    (row,) = json.loads((tmp_path / "out.json").read_text())
    result = predictor(image.read_bytes())
    assert result["classes"][0]["name"] == row["predicted"]
    for item in result["classes"]:
        assert item["description"]
        assert item["probability"] == pytest.approx(row[f"prob_{item['name']}"], abs=1e-5)
    out = capsys.readouterr().out
    for item in result["warnings"]:
        assert f"warning: {item['text']}" in out
    assert result["image"].startswith("data:image/jpeg;base64,")
    assert result["heat_map"] != result["image"]


@pytest.fixture
def show(predictor, monkeypatch):
    """A function that returns what the page shows for given probabilities of the seven classes."""
    from models.predictions import Predictions

    def show(
        *y_prob, uncertain=False, out_of_distribution=False, prediction_set=None, **description
    ) -> dict:
        classifier = predictor._classifier
        changed = dataclasses.replace(classifier.description, **description)
        monkeypatch.setattr(classifier, "description", changed)
        predictions = Predictions(
            y_prob=np.array([y_prob], np.float32),
            uncalibrated=np.array([y_prob]),
            uncertain=None if uncertain is None else np.array([uncertain]),
            out_of_distribution=None
            if out_of_distribution is None
            else np.array([False]) | out_of_distribution,
            prediction_set=prediction_set and np.array([prediction_set]),
        )
        heat_map = np.zeros((192, 192), np.float32)
        monkeypatch.setattr(predictor, "_predict", lambda image, name: (predictions, heat_map))
        return predictor(encode(np.zeros((8, 8, 3), np.uint8)))

    return show


# In the order of the classes: akiec, bcc, bkl, df, mel, nv, vasc.
MOLE = (0.01, 0.02, 0.05, 0.0, 0.17, 0.75, 0.0)
KERATOSIS = (0.2, 0.07, 0.284, 0.0, 0.2, 0.246, 0.0)


def texts(value) -> list[str]:
    """Return all strings in JSON values, except images."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        return [text for item in value for text in texts(item)]
    return [value] if isinstance(value, str) and not value.startswith("data:") else []


def test_a_row_is_that_of_predict_and_a_heat_map_that_of_the_class(predictor, tmp_path):
    from predict import main as predict

    content, path = generate_lesion_file("mel", 9), tmp_path / "a.jpg"
    path.write_bytes(content)
    argv = ["--image", str(path), "--model_path", str(ROOT / config.BUNDLED_MODEL)]
    assert predict([*argv, "--output", str(tmp_path / "out.json")]) == 0
    (row,) = json.loads((tmp_path / "out.json").read_text())
    found = predictor.row(content, "a.jpg")
    assert list(found) == list(row)
    assert found | {"image": row["image"]} == row | {}
    json.dumps(found)
    shown = predictor(content)
    other = predictor(content, "vasc")
    assert (shown["explained"], other["explained"]) == (shown["classes"][0]["name"], "vasc")
    assert "vascular lesion" in other["heat_map_caption"]
    assert other["classes"] == shown["classes"]
    with pytest.raises(DataError, match="expected a class of the model, received 'wart'"):
        predictor(content, "wart")


def test_the_default_square_gives_the_prediction_of_the_whole_image_and_another_does_not(predictor):
    content = generate_lesion_file("mel", 9)
    preview = predictor.preview(content)
    assert (preview["width"], preview["height"]) == (200, 150)
    assert preview["square"] == (25, 0, 150)
    assert preview["image"].startswith("data:image/jpeg;base64,")
    row, shown = predictor.row(content, "a"), predictor(content)
    assert predictor.row(content, "a", (25, 0, 150)) == row
    assert predictor(content, None, (25, 0, 150)) == shown
    other = predictor(content, None, (0, 0, 60))
    assert other["image"] != shown["image"]
    found = {item["name"]: item["probability"] for item in other["classes"]}
    row = predictor.row(content, "a", (0, 0, 60))
    assert found == pytest.approx({name: row[f"prob_{name}"] for name in found}, abs=1e-5)
    for ask in (predictor, predictor.row):
        with pytest.raises(DataError, match="expected a square of at least 8 pixels inside"):
            ask(content, None if ask is predictor else "a", (60, 0, 150))


def test_a_benign_prediction_comes_with_the_malignant_sum_and_no_reassurance(show):
    result = show(*MOLE)
    assert result["heading"] == "Model's prediction: Melanocytic nevus, 75.0 %"
    assert result["malignant"]["text"] == "Malignant or premalignant classes together: 20.0 %"
    assert result["malignant"]["probability"] == pytest.approx(0.2)
    assert "melanoma" in result["malignant"]["note"]
    assert (result["top"], result["warnings"], result["out_of_distribution"]) == ([], [], False)
    assert {c["name"] for c in result["classes"] if c["tag"]} == {"akiec", "bcc", "mel"}
    # The name of a class, benign keratosis, is no judgment of the image.
    words = " ".join(texts(result)).lower().replace("benign keratosis", "")
    for reassuring in ("harmless", "benign", "cured", "rarely", "you have"):
        assert reassuring not in words


def test_below_the_threshold_the_heading_is_uncertain_with_the_top_three_classes(show):
    result = show(*KERATOSIS, uncertain=True)
    assert result["heading"] == "Uncertain"
    assert [item["name"] for item in result["top"]] == ["bkl", "nv", "akiec"]
    assert result["malignant"]["text"].endswith(" 47.0 %")
    assert [item["kind"] for item in result["warnings"]] == ["uncertain"]


def test_a_set_of_several_classes_is_named_unless_the_image_is_out_of_distribution(show):
    sets = {"prediction_sets": {"coverage": 0.9, "thresholds": {}}}
    several = {"prediction_set": [False] * 4 + [True, True, False], **sets}
    assert show(*MOLE, **several)["set"] == (
        "Prediction set: melanocytic nevus; melanoma. Of all sets, also those of one class, 90 % "
        "contain the true class, on images like the validation images."
    )
    assert show(*MOLE, **several, out_of_distribution=True)["set"] == ""
    assert show(*MOLE, prediction_set=[False] * 5 + [True, False], **sets)["set"] == ""
    assert show(*MOLE)["set"] == ""


def test_the_decision_at_an_operating_point_is_a_sentence(show, predictor, monkeypatch):
    assert show(*MOLE)["decision"] == ""
    point = OperatingPoint("malignant", "sensitivity_0.90", 0.15, ("akiec", "bcc", "mel"))
    monkeypatch.setattr(predictor, "_point", point)
    assert show(*MOLE)["decision"] == (
        "At 90 % sensitivity on validation images: called malignant, since 20.0 % reaches the "
        "threshold of 15.0 %"
    )
    assert show(*MOLE, out_of_distribution=True)["decision"] == ""


def test_an_image_out_of_distribution_gets_a_heading_of_its_own(show):
    result = show(*KERATOSIS, uncertain=True, out_of_distribution=True)
    assert result["heading"] == "Does not look like a dermatoscopic image"
    assert result["top"] == []
    assert [item["kind"] for item in result["warnings"]] == ["out_of_distribution", "uncertain"]


def test_what_a_model_cannot_tell_is_null_and_not_false(show):
    result = show(*MOLE, uncertain=None, out_of_distribution=None)
    assert (result["warnings"], result["out_of_distribution"]) == ([], None)
    assert result["heading"].startswith("Model's prediction: ")


def test_unknown_malignant_classes_are_not_shown_as_0_percent(show):
    malignant = show(*MOLE, malignant=())["malignant"]
    assert (malignant["probability"], malignant["text"]) == (None, "")
    assert malignant["note"] == "It is not known which classes of this model are malignant."


def test_a_single_malignant_class_is_no_sum(show):
    malignant = show(*MOLE, malignant=("mel",))["malignant"]
    assert malignant["text"] == "Malignant or premalignant: 17.0 %"
    assert malignant["note"].startswith("Probability of this class: melanoma. A low value")


def test_classes_have_the_titles_of_the_model_and_no_description_of_another_class(show):
    result = show(*MOLE, class_titles={"nv": "melanocytic nevus", "df": "diabetic foot"})
    classes = {item["name"]: item for item in result["classes"]}
    assert classes["df"]["label"] == "diabetic foot (df)"
    assert classes["df"]["description"] == ""
    assert classes["nv"]["description"].startswith("Images of moles")
    own = ("acne", "Wart", "c", "d", "e", "f", "scar")
    result = show(*MOLE, class_names=own, malignant=(), class_titles={"f": "fungal infection"})
    assert result["heading"] == "Model's prediction: Fungal infection, 75.0 %"
    assert [item["label"] for item in result["classes"]][:2] == ["fungal infection (f)", "e"]
    assert {item["description"] for item in result["classes"]} == {""}


def test_the_model_predicts_no_example_wrong_and_each_is_what_its_title_says(predictor):
    examples = choose_examples(predictor._classifier)
    assert list(examples) == ["right", "uncertain", "out_of_distribution"]
    for kind, example in examples.items():
        result = predictor(example.content)
        title, outcome = example.title.rsplit(", ", 1)
        assert outcome == {"right": "predicted"}.get(kind, kind.replace("_", " "))
        assert result["out_of_distribution"] == (kind == "out_of_distribution")
        if kind == "out_of_distribution":
            assert title == "test card"
        else:
            assert title == result["classes"][0]["title"]
            kinds = [item["kind"] for item in result["warnings"]]
            assert ("uncertain" in kinds) == (kind == "uncertain")


def test_no_probability_is_rounded_to_certainty(show):
    classes = show(0.0, 0.0, 0.0, 0.0, 0.0001, 0.9999, 0.0)["classes"]
    assert [item["percent"] for item in classes][:3] == ["> 99.9 %", "< 0.1 %", "0.0 %"]


def test_every_result_carries_the_model_and_how_many_melanomas_it_misses(show):
    melanomas = {"split": "test", "count": 167, "missed": 52}
    known = {"data_name": "HAM10000", "date": "2026-11-25", "melanomas": melanomas, "sources": {}}
    result = show(*MOLE, train_image_ids=("a", "b"), **known)
    assert result["model"]["text"] == (
        f"Model: pretrained/{Path(config.BUNDLED_MODEL).name}, trained on 2 images of HAM10000, "
        "2026-11-25."
    )
    assert result["model"]["warning"] == ""
    assert result["disclaimer"].startswith("This is not medical advice.")
    assert "Of the 167 melanomas among its test images" in result["disclaimer"]
    assert "52" in result["disclaimer"]
    assert "not known how many melanomas" in show(*MOLE, melanomas=None)["disclaimer"]


def test_a_model_trained_on_synthetic_images_says_so_in_every_result(show):
    model = show(*MOLE, synthetic=True)["model"]
    assert "synthetic images: its predictions mean nothing" in model["warning"]
    assert "synthetic images" in model["text"]


def test_escapes_in_the_name_of_the_model_file_do_not_reach_the_page(predictor, monkeypatch):
    from app.prediction import describe_model

    # The second is what Python makes of a byte that is no UTF-8; JSON cannot encode it.
    for name in ("\x1b[31m.keras", "\udcff.keras", "\u202egpj.keras"):
        monkeypatch.setattr(predictor._classifier, "path", Path("runs", name))
        model = describe_model(predictor._classifier)
        assert model["text"].startswith(f"Model: runs/?{name[1:]}, ")
        assert f"runs/?{name[1:]}" in json.dumps(model, ensure_ascii=False).encode().decode()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "the file is empty"),
        (b"no image", "unsupported image format"),
        (encode(np.zeros((400, 300, 3), np.uint8)), "expected at most 100,000 pixels"),
        (encode(np.zeros((100, 100, 3), np.uint8))[:-40], "cannot be read"),
    ],
    ids=("empty", "text", "large", "cut"),
)
def test_a_file_that_is_no_image_is_refused_in_one_line(predictor, content, reason):
    with pytest.raises(DataError, match=reason) as caught:
        predictor(content)
    assert "\n" not in str(caught.value)


def test_a_tflite_file_is_refused_because_it_has_no_heat_maps(tmp_path):
    from app.prediction import Predictor
    from models.classifier import load_classifier
    from models.factory import build_model
    from models.tflite_conversion import convert_to_tflite

    model = build_model("sequential", image_size=32, class_names=("nv", "mel"))
    convert_to_tflite(model, tmp_path / "model.tflite")
    with pytest.raises(ModelError, match=r"model\.tflite: expected a \.keras file"):
        Predictor(load_classifier(tmp_path / "model.tflite"), AppConfig())


def test_wrong_usage_is_reported_in_one_line(capsys, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        assert main(["--port", port]) == 2
        assert f"cannot listen on port {port} of 127.0.0.1 (Address already in use)" in (
            capsys.readouterr().err
        )
    assert main(["--port", "0", "--model_path", str(tmp_path / "none.keras")]) == 2
    assert "none.keras: model file not found" in capsys.readouterr().err
    # 192.0.2.1 belongs to no machine (RFC 5737).
    for host in ("no such host", "192.0.2.1"):
        assert main(["--port", "0", "--host", host]) == 2
        expected = f"--host: expected an address of this machine, received {host!r}"
        assert expected in capsys.readouterr().err
    for argv in (["--port", "70000"], ["--port", "x"], ["--prot", "1"]):
        with pytest.raises(SystemExit) as stopped:
            main(argv)
        assert stopped.value.code == 2
        assert capsys.readouterr().err.count("\n") == 1


def test_a_missing_package_is_named_with_the_command_that_installs_it(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    assert main([]) == 2
    assert (
        "uvicorn is not installed: pip install -r requirements-app.txt" in capsys.readouterr().err
    )


def test_help_does_not_load_tensorflow():
    code = "import sys, app.__main__ as a\ntry: a.main(['--help'])\nexcept SystemExit: pass\n"
    code += "assert not {'tensorflow', 'keras', 'numpy', 'starlette'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True)


@pytest.mark.slow
def test_the_command_stores_nothing_and_ctrl_c_stops_it(tmp_path):
    home, temporary, work = (tmp_path / name for name in ("home", "temporary", "work"))
    for folder in (home, temporary, work):
        folder.mkdir()
    environment = {"HOME": str(home), "TMPDIR": str(temporary), "PYTHONPATH": str(ROOT)}
    environment |= {"PATH": "/usr/bin:/bin", "TF_CPP_MIN_LOG_LEVEL": "3", "MPLCONFIGDIR": str(home)}
    process = subprocess.Popen(
        [sys.executable, "-m", "app", "--port", "0", "--host", "0.0.0.0"],
        cwd=work,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        line = ""
        while not line.startswith("Open "):
            line = process.stdout.readline()
            assert line, process.stderr.read()
            assert not line.startswith("Model: ") or "trained on 10,574 images (HAM" in line
        port = int(line.split()[1].rpartition(":")[2])
        about = json.loads(send(port, "/settings")[2])
        assert "trained on 10,574 images (HAM10000 9,010, " in about["model"]["text"]
        assert about["disclaimer"].startswith("This is not medical advice.")
        before = sorted(tmp_path.rglob("*"))
        noise = np.random.default_rng(0).integers(0, 256, (300, 300, 3), np.uint8)
        status, _, content = send(port, content=encode(noise))
        assert status == 200
        assert len(json.loads(content)["classes"]) == 7
        assert send(port, content=b"no image")[0] == 400
        assert sorted(tmp_path.rglob("*")) == before
        assert not any(work.iterdir())
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=30)
        assert process.returncode == 130
        assert "lets others on the network use this page" in errors
        assert "Traceback" not in errors
    finally:
        process.kill()
        process.wait()
