"""The page in a real browser: Chromium, which can reach no host but this one.

Skipped where Chromium or a package is missing; REQUIRE_BROWSER=1 makes that a failure.
"""

import base64
import contextlib
import http.client
import io
import json
import os
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
from PIL import Image

ROOT = Path(__file__).parent.parent

WAIT_SECONDS = 30


@contextlib.contextmanager
def serving(stores, *options: str):
    """Run the command; yields the URL of the page."""
    process = subprocess.Popen(
        [sys.executable, "-m", "app", "--port", "0", *options],
        cwd=stores["work"],
        env=os.environ
        | {"HOME": str(stores["home"]), "TMPDIR": str(stores["temporary"])}
        | {"PYTHONPATH": str(ROOT), "MPLCONFIGDIR": str(stores["home"])},
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield read_start(process)[-1].split()[1]
    finally:
        process.terminate()
        process.wait()


def read_start(process: subprocess.Popen) -> list[str]:
    """Return the lines that the command prints until the page can be opened, that line included."""
    lines = [""]
    while not lines[-1].startswith("Open "):
        lines.append(process.stdout.readline())
        assert lines[-1], process.stderr.read() if process.stderr else "the page did not start"
    return lines[1:]


def element(browser, identifier: str):
    return browser.find_element("id", identifier)


def wait_for(browser, condition):
    from selenium.webdriver.support.ui import WebDriverWait

    return WebDriverWait(browser, WAIT_SECONDS, poll_frequency=0.05).until(condition)


def open_page(browser, url: str) -> None:
    browser.get(url)
    wait_for(browser, lambda it: element(it, "advice").text)


def has_result(browser) -> bool:
    return element(browser, "result").is_displayed()


def send_letter_after_result(browser, url: str, image: Path, letter: Path) -> None:
    """Let an image be classified, then send a text under the name of an image."""
    letter.write_text("Dear reader, this is no image.")
    open_page(browser, url)
    element(browser, "file").send_keys(str(image))
    wait_for(browser, has_result)
    element(browser, "file").send_keys(str(letter))
    wait_for(browser, lambda it: element(it, "error").is_displayed())


def probabilities(browser) -> dict[str, float]:
    rows = browser.find_elements("css selector", ".bars progress")
    return {row.get_attribute("data-name"): float(row.get_attribute("value")) for row in rows}


def shown_pixels(browser, identifier: str) -> np.ndarray:
    content = element(browser, identifier).get_attribute("src").partition(",")[2]
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(content))))


def bounds(browser, found) -> dict[str, float]:
    """Return where an element is, in pixels of the window."""
    return browser.execute_script("return arguments[0].getBoundingClientRect().toJSON()", found)


def requested_urls(browser) -> list[str]:
    messages = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    return [
        message["params"]["request"]["url"]
        for message in messages
        if message["method"] == "Network.requestWillBeSent"
    ]


def predict_without_browser(url: str, content: bytes, query: str = "") -> dict:
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=60)
    connection.request("POST", f"/predict{query}", content)
    return json.loads(connection.getresponse().read())


def open_crop(browser, url: str, path: Path) -> None:
    """Classify a file and open what moves its square."""
    open_page(browser, url)
    element(browser, "file").send_keys(str(path))
    wait_for(browser, has_result)
    assert not element(browser, "crop-tools").is_displayed()
    element(browser, "crop-open").click()
