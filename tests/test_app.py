"""The web server of the page without a browser, and the command `python -m app`."""

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
from browsing import read_start
from serving import encode

from app.__main__ import main
from app.server import FILES
from app.settings import AppConfig
from models import ModelError
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
        lines = read_start(process)
        for line in lines:
            assert not line.startswith("Model: ") or "trained on 10,574 images (HAM" in line
        port = int(lines[-1].split()[1].rpartition(":")[2])
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
