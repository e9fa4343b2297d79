"""The page's web server without a browser, and the command line of `python -m app`."""

import contextlib
import hashlib
import http.client
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
from data import DataError

pytest.importorskip("starlette", reason="needs requirements-app.txt")
uvicorn = pytest.importorskip("uvicorn", reason="needs requirements-app.txt")

from app.server import build_app  # noqa: E402  (needs starlette)

ROOT = Path(__file__).parent.parent


def echo(content: bytes) -> dict:
    """Stand for the model: an answer that tells its picture."""
    if content.startswith(b"text"):
        raise DataError("this file cannot be read as an image: it is in no format")
    if content.startswith(b"bug"):
        raise RuntimeError("a secret of the machine")
    return {"digest": hashlib.sha256(content).hexdigest()}


@contextlib.contextmanager
def serving(answer=echo, **options):
    """Serve in a thread; yields the port."""
    settings = {"max_upload_bytes": 1000, "max_waiting": 8, "upload_seconds": 5} | options
    app = build_app(answer, examples={"nv": b"jpeg"}, **settings)
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, log_level="critical", timeout_graceful_shutdown=1))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        server.should_exit = True
        thread.join()
        listener.close()


def ask(port: int, path: str = "/predict", content: bytes | None = None, **headers: str):
    """Return status, headers and content of a response."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    try:
        connection.request("GET" if content is None else "POST", path, content, headers)
        response = connection.getresponse()
        return response.status, response.headers, response.read()
    finally:
        connection.close()


def test_many_at_once_each_get_their_own_answer():
    contents = [bytes([place]) * 50 for place in range(40)]
    with serving(max_waiting=100) as port, ThreadPoolExecutor(10) as pool:
        for content, (status, _, answer) in zip(
            contents, pool.map(lambda content: ask(port, content=content), contents), strict=True
        ):
            assert status == 200
            assert json.loads(answer) == echo(content)


def test_what_is_refused_gets_a_sentence_and_no_trace(capfd):
    with serving() as port:
        status, _, content = ask(port, content=b"text")
        assert (status, json.loads(content)["error"]) == (
            400,
            "This file cannot be read as an image: it is in no format.",
        )
        status, _, content = ask(port, content=b"x" * 1001)
        assert (status, b"larger than" in content) == (413, True)
        # Without its length in the header, too.
        status, _, content = ask(port, content=iter([b"x" * 600, b"x" * 600]))
        assert (status, b"larger than" in content) == (413, True)
        status, _, content = ask(port, content=b"bug")
        assert (status, b"Something went wrong" in content) == (500, True)
        assert b"secret" not in content


def test_a_picture_that_does_not_arrive_is_given_up():
    with (
        serving(upload_seconds=0.2) as port,
        socket.create_connection(("127.0.0.1", port), timeout=20) as slow,
    ):
        slow.sendall(b"POST /predict HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 10\r\n\r\nab")
        assert b" 408 " in slow.recv(100)


def test_who_comes_when_too_many_wait_is_asked_to_come_again():
    entered, go_on = threading.Semaphore(0), threading.Event()

    def wait(content: bytes) -> dict:
        entered.release()
        go_on.wait(20)
        return {}

    with serving(wait, max_waiting=1) as port, ThreadPoolExecutor(1) as pool:
        first = pool.submit(ask, port, content=b"first")
        assert entered.acquire(timeout=20)
        status, _, content = ask(port, content=b"second")
        assert (status, b"try again in a moment" in content) == (503, True)
        go_on.set()
        assert first.result()[0] == 200
        assert ask(port, content=b"third")[0] == 200


def test_pages_come_from_here_alone_and_only_under_their_name():
    with serving(hosts=("127.0.0.1", "localhost")) as port:
        for path in ("/", "/page.css", "/page.js", "/icon.svg", "/settings", "/examples/nv"):
            status, headers, content = ask(port, path)
            assert status == 200
            assert headers["Cache-Control"] == "no-store"
            assert "default-src 'none'" in headers["Content-Security-Policy"]
            names = content.replace(b"http://www.w3.org/2000/svg", b"")
            assert b"http:" not in names
            assert b"https:" not in names
        assert ask(port, "/examples/../../README.md")[0] == 404
        assert ask(port, "/", Host="evil.example")[0] == 421
        assert ask(port, "/", Host=f"localhost:{port}")[0] == 200


@pytest.fixture(scope="module")
def answerer():
    from app.answer import Answerer

    return Answerer(ROOT / config.PRETRAINED_MODEL, max_pixels=100_000, shown_size=64)


def encode(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def test_the_answer_is_that_of_predict(answerer, tmp_path, capsys):
    from app.answer import paint_examples
    from predict import main as predict

    picture = tmp_path / "nv.jpg"
    picture.write_bytes(paint_examples()["nv"])
    argv = ["--image", str(picture), "--model_path", str(ROOT / config.PRETRAINED_MODEL)]
    assert predict([*argv, "--output", str(tmp_path / "out.json")]) == 0
    (row,) = json.loads((tmp_path / "out.json").read_text())
    answer = answerer(picture.read_bytes())
    assert answer["answer"]["name"] == row["predicted"]
    for item in answer["classes"]:
        assert item["sentence"]
        assert item["probability"] == pytest.approx(row[f"prob_{item['name']}"], abs=1e-5)
    out = capsys.readouterr().out
    for item in answer["warnings"]:
        assert f"warning: {item['text']}" in out
    assert answer["picture"].startswith("data:image/jpeg;base64,")
    assert answer["heat"] != answer["picture"]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "it is empty"),
        (b"no picture", "no format that Pillow knows"),
        (encode(np.zeros((400, 300, 3), np.uint8)), "at most 100,000 are taken"),
        (encode(np.zeros((100, 100, 3), np.uint8))[:-40], "cannot be read"),
    ],
    ids=("empty", "text", "large", "cut"),
)
def test_what_is_no_picture_is_refused_in_one_line(answerer, content, reason):
    with pytest.raises(DataError, match=reason) as caught:
        answerer(content)
    assert "\n" not in str(caught.value)


def test_wrong_use_is_one_line(capsys, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        assert main(["--port", port]) == 2
        assert f"port {port} (Address already in use)" in capsys.readouterr().err
    assert main(["--port", "0", "--model_path", str(tmp_path / "none.keras")]) == 2
    assert "found none at" in capsys.readouterr().err
    assert main(["--port", "0", "--host", "no such host"]) == 2
    assert "received 'no such host'" in capsys.readouterr().err
    for argv in (["--port", "70000"], ["--port", "x"], ["--prot", "1"]):
        with pytest.raises(SystemExit) as stopped:
            main(argv)
        assert stopped.value.code == 2
        assert capsys.readouterr().err.count("\n") == 1


def test_without_its_packages_it_names_the_command_that_installs_them(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    assert main([]) == 2
    assert "pip install -r requirements-app.txt" in capsys.readouterr().err


def test_help_does_not_load_tensorflow():
    code = "import sys, app.__main__ as a\ntry: a.main(['--help'])\nexcept SystemExit: pass\n"
    code += "assert not {'tensorflow', 'keras', 'numpy', 'starlette'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True)


def test_nothing_is_stored_and_control_c_ends_it(tmp_path):
    """The whole command, with every folder that it might write to empty before."""
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
        while not line.startswith("open "):
            line = process.stdout.readline()
            assert line, process.stderr.read()
        port = int(line.split()[1].rpartition(":")[2])
        before = sorted(tmp_path.rglob("*"))
        picture = np.random.default_rng(0).integers(0, 256, (300, 300, 3), np.uint8)
        status, _, content = ask(port, content=encode(picture))
        assert status == 200
        assert len(json.loads(content)["classes"]) == 7
        assert ask(port, content=b"no picture")[0] == 400
        assert sorted(tmp_path.rglob("*")) == before
        assert not any(work.iterdir())
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=30)
        assert process.returncode == 130
        assert "lets others in the network use this page" in errors
        assert "Traceback" not in errors
    finally:
        process.kill()
        process.wait()
