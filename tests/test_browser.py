"""The page in a real browser: Chromium, which can reach no host but this one.

Skipped where Chromium or a package is missing; REQUIRE_BROWSER=1 makes that a failure.
"""

import base64
import contextlib
import http.client
import io
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import pytest
from PIL import Image

from app.settings import AppConfig

ROOT = Path(__file__).parent.parent
WAIT_SECONDS = 30

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
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


@pytest.fixture(scope="module")
def stores(tmp_path_factory) -> dict[str, Path]:
    """The folders that the page could write to."""
    root = tmp_path_factory.mktemp("stores")
    stores = {name: root / name for name in ("home", "temporary", "work")}
    for folder in stores.values():
        folder.mkdir()
    return stores


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
        line = ""
        while not line.startswith("Open "):
            line = process.stdout.readline()
            assert line, "the page did not start"
        yield line.split()[1]
    finally:
        process.terminate()
        process.wait()


@pytest.fixture(scope="module")
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


@pytest.fixture(scope="module")
def lesions(tmp_path_factory) -> dict[str, Path]:
    """Files of synthetic lesions, 200 x 150."""
    from app.examples import generate_lesion_file

    folder = tmp_path_factory.mktemp("lesions")
    files = {name: folder / f"{name}.jpg" for name in ("nv", "mel", "bcc", "vasc")}
    for name, path in files.items():
        path.write_bytes(generate_lesion_file(name, 9))
    return files


def predict_without_browser(url: str, content: bytes, query: str = "") -> dict:
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=60)
    connection.request("POST", f"/predict{query}", content)
    return json.loads(connection.getresponse().read())


def test_a_lesion_gets_bars_and_a_heat_map(browser, url, lesions):
    open_page(browser, url)
    element(browser, "file").send_keys(str(lesions["mel"]))
    wait_for(browser, has_result)
    expected = predict_without_browser(url, lesions["mel"].read_bytes())
    found = probabilities(browser)
    assert sum(found.values()) == pytest.approx(1, abs=1e-3)
    assert found == pytest.approx({c["name"]: c["probability"] for c in expected["classes"]})
    assert element(browser, "prediction").text == expected["heading"]
    assert element(browser, "malignant-text").text == expected["malignant"]["text"]
    bar = float(element(browser, "malignant-bar").get_attribute("value"))
    assert bar == pytest.approx(expected["malignant"]["probability"])
    top = [row.text.split("\n")[0] for row in browser.find_elements("css selector", "#top li")]
    assert top == [item["title"] for item in expected["top"]]
    assert element(browser, "disclaimer").text == expected["disclaimer"]
    assert element(browser, "result-model").text == expected["model"]["text"]
    assert element(browser, "model").text == expected["model"]["text"]
    assert not element(browser, "banner").is_displayed()
    assert not element(browser, "result-banner").is_displayed()
    texts = [w.text for w in browser.find_elements("css selector", "#warnings p")]
    assert texts == [warning["text"] for warning in expected["warnings"]]
    assert element(browser, "source").text == "mel.jpg"
    image, heat_map = shown_pixels(browser, "image"), shown_pixels(browser, "heat-map")
    assert image.shape == heat_map.shape == (480, 480, 3)
    assert np.abs(image.astype(int) - heat_map).max() > 50
    assert "not medical advice" in browser.find_element("tag name", "main").text


def test_an_image_out_of_distribution_gets_a_warning(browser, url, tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (300, 300, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "noise.png")
    open_page(browser, url)
    element(browser, "file").send_keys(str(tmp_path / "noise.png"))
    wait_for(browser, has_result)
    assert "Does not look like a dermatoscopic image" in element(browser, "warnings").text
    heading = element(browser, "prediction").text
    assert heading == "Does not look like a dermatoscopic image"
    # That the prediction means nothing is said before any number.
    shown = element(browser, "result").text
    assert shown.index("so the prediction means nothing") < shown.index("classes together")


def test_a_low_confidence_names_no_class_in_the_heading(browser, url, lesions):
    open_page(browser, url)
    element(browser, "file").send_keys(str(lesions["nv"]))
    wait_for(browser, has_result)
    assert element(browser, "prediction").text == "Uncertain"
    assert len(browser.find_elements("css selector", "#top li")) == 3
    shown = element(browser, "result").text
    assert shown.index("Uncertain") < shown.index("classes together") < shown.index("Low confid")


def test_a_model_trained_on_synthetic_images_has_a_banner_on_the_page_and_in_the_result(
    browser, stores, lesions, tmp_path
):
    from data.ham10000 import CLASS_NAMES
    from models.bundle import save_model, update_description
    from models.factory import build_model

    run = tmp_path / "run"
    run.mkdir()
    model = build_model("sequential", image_size=32, class_names=CLASS_NAMES)
    update_description(
        model, synthetic=True, train_image_ids=("a", "b"), malignant=("akiec", "bcc", "mel")
    )
    save_model(model, run / "model.keras")
    with serving(stores, "--model_path", str(run)) as url:
        open_page(browser, url)
        banner = element(browser, "banner")
        assert banner.text.startswith("This model was trained on synthetic images")
        assert banner.get_attribute("role") == "alert"
        assert "trained on 2 synthetic images" in element(browser, "model").text
        element(browser, "file").send_keys(str(lesions["nv"]))
        wait_for(browser, has_result)
        assert element(browser, "result-banner").text == banner.text
        assert "cannot warn about low confidence" in element(browser, "result-model").text
        for shown in (banner, element(browser, "result-banner")):
            red, green, blue = (
                int(part)
                for part in shown.value_of_css_property("background-color")[5:].split(",")[:3]
            )
            assert red > 2 * max(green, blue)


def test_the_keyboard_moves_the_heat_map_off_the_image(browser, url, lesions):
    from selenium.webdriver.common.keys import Keys

    open_page(browser, url)
    element(browser, "file").send_keys(str(lesions["nv"]))
    wait_for(browser, has_result)
    slider, heat_map = element(browser, "split"), element(browser, "heat-map")
    assert slider.accessible_name == "Heat map over the left part of the image"
    assert heat_map.value_of_css_property("clip-path") == "inset(0px 0% 0px 0px)"
    slider.send_keys(Keys.HOME, Keys.ARROW_RIGHT)
    assert slider.get_attribute("value") == "1"
    assert heat_map.value_of_css_property("clip-path") == "inset(0px 99% 0px 0px)"
    # The next image has its whole heat map again.
    element(browser, "file").send_keys(str(lesions["mel"]))
    wait_for(browser, lambda it: slider.get_attribute("value") == "100")


def test_a_class_is_explained_when_its_name_is_chosen(browser, url, lesions):
    open_page(browser, url)
    element(browser, "file").send_keys(str(lesions["mel"]))
    wait_for(browser, has_result)
    pressed = "#bars button[aria-pressed=true]"
    (first,) = browser.find_elements("css selector", pressed)
    (other,) = browser.find_elements("css selector", "#bars button[data-name=vasc]")
    assert first.get_attribute("data-name") != "vasc"
    before = element(browser, "heat-map").get_attribute("src")
    other.click()
    wait_for(browser, lambda it: "vascular" in element(it, "heat-map-caption").text)
    assert element(browser, "heat-map").get_attribute("src") != before
    assert browser.find_elements("css selector", pressed) == [other]


def test_several_files_become_a_table_that_is_sorted_and_leads_to_each_result(
    browser, url, lesions, tmp_path
):
    (tmp_path / "=1.jpg").write_text("no image")
    open_page(browser, url)
    files = [*lesions.values(), tmp_path / "=1.jpg"]
    element(browser, "file").send_keys("\n".join(map(str, files)))
    title = f"{len(files)} images"
    wait_for(browser, lambda it: element(it, "several-title").text == title)

    def names() -> list[str]:
        return [b.text for b in browser.find_elements("css selector", "#several-rows button")]

    assert names() == sorted(path.name for path in files)
    assert "cannot be read as an image" in element(browser, "several-rows").text
    heads = browser.find_elements("css selector", "#several-heads th")
    assert [head.get_attribute("aria-sort") for head in heads] == ["ascending", *["none"] * 3]
    heads[0].find_element("tag name", "button").click()
    assert names() == sorted((path.name for path in files), reverse=True)
    rows = browser.find_elements("css selector", "#several-rows tr")
    assert all(row.find_element("tag name", "img").get_attribute("src") for row in rows)
    table = browser.execute_async_script(
        "const done = arguments[0];"
        "import('/several.js').then((it) => done(it.formatTable("
        "[{image: '=1, \"a\"', uncertain: null, p: -0.5}])));"
    )
    assert table == 'image,uncertain,p\r\n"\'=1, ""a""",,-0.5\r\n'
    percents = browser.execute_async_script(
        "const done = arguments[0];"
        "import('/several.js').then((it) => done([0.5, 0.99949, 1].map(it.formatPercent)));"
    )
    assert percents == ["50.0 %", "> 99.9 %", "> 99.9 %"]
    name = next(path.name for path in lesions.values())
    browser.find_element("xpath", f"//tbody//button[text()='{name}']").click()
    wait_for(browser, has_result)
    assert element(browser, "source").text == name
    element(browser, "clear").click()
    assert not element(browser, "several").is_displayed()
    assert not element(browser, "result").is_displayed()


def test_a_result_is_saved_as_a_picture_and_as_values(browser, url, lesions, tmp_path):
    folder = {"behavior": "allow", "downloadPath": str(tmp_path)}
    browser.execute_cdp_cmd("Browser.setDownloadBehavior", folder)
    open_page(browser, url)
    element(browser, "file").send_keys(str(lesions["nv"]))
    wait_for(browser, has_result)
    for kind in ("image", "values"):
        element(browser, f"save-{kind}").click()
    names = ("nv.png", "nv.json")
    wait_for(browser, lambda it: all((tmp_path / name).is_file() for name in names))
    row = json.loads((tmp_path / "nv.json").read_text())
    found = probabilities(browser)
    assert {name: row[f"prob_{name}"] for name in found} == pytest.approx(found, abs=1e-5)
    assert row["image"] == "nv.jpg"
    picture = np.asarray(Image.open(tmp_path / "nv.png").convert("RGB")).astype(int)
    shown = np.asarray(shown_pixels(browser, "image")).astype(int)
    assert np.abs(picture[24:504, 24:504] - shown).mean() < 2


def test_a_saved_picture_is_as_high_as_its_text(browser, url, lesions):
    open_page(browser, url)
    element(browser, "file").send_keys(str(lesions["nv"]))
    wait_for(browser, has_result)
    content = browser.execute_async_script(
        "const done = arguments[0];"
        "const item = {percent: '1 %', label: 'name '.repeat(60)};"
        "const result = {heading: 'a', malignant: {text: ''}, warnings: [], model: {text: 'b'},"
        "  classes: Array(400).fill(item), heat_map_caption: 'c', disclaimer: 'MMM'};"
        "import('/save.js').then((it) => done("
        "it.drawResult({result, source: 'd', square: null}).toDataURL()));"
    )
    data = base64.b64decode(content.partition(",")[2])
    ink = np.asarray(Image.open(io.BytesIO(data)).convert("L")) < 128
    assert 900 < len(ink) < 2000
    # The disclaimer is the last line, above a margin.
    assert ink[-60:-24, 24:60].any()
    assert not ink[-20:].any()


def test_a_heat_map_that_fails_leaves_the_prediction(browser, url, lesions):
    open_page(browser, url)
    element(browser, "file").send_keys(str(lesions["nv"]))
    wait_for(browser, has_result)
    browser.execute_script("window.fetch = async () => new Response('busy', {status: 502})")
    browser.find_element("css selector", "#bars button[data-name=vasc]").click()
    wait_for(browser, lambda it: element(it, "error").text)
    assert element(browser, "error").text == "Expected a prediction, received status 502."
    assert has_result(browser)


def test_a_saved_picture_has_all_that_the_result_says(browser, url):
    open_page(browser, url)
    texts = browser.execute_async_script(
        "const done = arguments[0];"
        "const result = {heading: 'heading', set: 'set', decision: 'decision', classes: [],"
        "  malignant: {text: 'malignant', note: 'note'}, warnings: [{text: 'warning'}],"
        "  model: {text: 'model', note: 'synthetic', warning: 'banner'},"
        "  heat_map_caption: 'caption', disclaimer: 'disclaimer'};"
        "import('/save.js').then((it) => done("
        "it.listTexts({result, source: 'a.jpg', square: null}).map(([text]) => text)));"
    )
    assert texts == [
        *("banner", "a.jpg", "heading", "set", "malignant", "decision", "note", "warning"),
        *("caption.", "model synthetic", "disclaimer"),
    ]


def test_a_file_that_cannot_be_read_is_no_fault_of_the_server(browser, url):
    open_page(browser, url)
    message = browser.execute_async_script(
        "const done = arguments[0];"
        "const gone = {arrayBuffer: () => Promise.reject(new Error('gone'))};"
        "import('/dom.js').then((it) => it.post('/predict', gone)).catch((e) => done(e.message));"
    )
    assert message == "The file cannot be read: it is a folder, or changed. Choose it again."


def test_a_result_that_is_opened_while_a_table_grows_keeps_the_focus(
    browser, url, lesions, tmp_path
):
    files = []
    for i in range(12):
        files.append(tmp_path / f"{i:02d}.jpg")
        shutil.copy(lesions["nv"], files[-1])
    open_page(browser, url)
    element(browser, "file").send_keys("\n".join(map(str, files)))
    rows = "#several-rows button"
    wait_for(browser, lambda it: it.find_elements("css selector", rows))
    browser.execute_script(f"document.querySelector('{rows}').click()")
    title = f"{len(files)} images"
    wait_for(browser, lambda it: element(it, "several-title").text == title)
    wait_for(browser, has_result)
    assert browser.switch_to.active_element.get_attribute("id") == "prediction"
    # Printed is the result, not the table.
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    try:
        assert not element(browser, "several").is_displayed()
        assert element(browser, "result").is_displayed()
    finally:
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})


def test_only_a_pressed_first_button_moves_the_square(browser, url, lesions):
    open_page(browser, url)
    element(browser, "file").send_keys(str(lesions["nv"]))
    wait_for(browser, has_result)
    element(browser, "crop-open").click()
    element(browser, "crop-zoom").send_keys("\ue014" * 60)  # zoom in, so that it can move

    def drag(button: int, buttons: int) -> str:
        browser.execute_script(
            "const view = document.getElementById('crop-view');"
            "view.setPointerCapture = () => {};"
            "const send = (kind, x, buttons) => view.dispatchEvent(new PointerEvent(kind, "
            "{pointerId: 7, clientX: x, clientY: 9, button: arguments[0], buttons}));"
            "send('pointerdown', 10, 1); send('pointermove', 30, arguments[1]);"
            "send('pointermove', 50, arguments[1]); send('pointerup', 50, 0);",
            button,
            buttons,
        )
        return element(browser, "square").get_attribute("style")

    before = element(browser, "square").get_attribute("style")
    assert drag(2, 2) == before  # opens a menu
    assert drag(0, 0) == before  # was released elsewhere
    assert drag(0, 1) != before


def test_the_state_of_a_request_is_inside_the_drop_zone_and_in_view(browser, url, lesions):
    screen = {"width": 390, "height": 700, "deviceScaleFactor": 1, "mobile": True}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", screen)
    open_page(browser, url)
    # The answer is held back.
    browser.execute_script("window.fetch = () => new Promise(() => {});")
    element(browser, "file").send_keys(str(lesions["nv"]))
    drop = element(browser, "drop")
    assert drop.get_attribute("aria-busy") == "true"
    for name in ("status", "thumbnail", "clear"):
        found = drop.find_element("id", name)
        assert found.is_displayed()
        box = bounds(browser, found)
        assert 0 <= box["top"] < box["bottom"] <= 700
    element(browser, "clear").click()
    assert drop.get_attribute("aria-busy") == "false"
    assert not element(browser, "thumbnail").is_displayed()


def test_an_error_is_inside_the_drop_zone_and_in_view_on_a_phone(browser, url, lesions, tmp_path):
    screen = {"width": 390, "height": 700, "deviceScaleFactor": 1, "mobile": True}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", screen)
    send_letter_after_result(browser, url, lesions["nv"], tmp_path / "letter.jpg")
    box = bounds(browser, element(browser, "drop").find_element("id", "error"))
    assert 0 <= box["top"] < box["bottom"] <= 700
    # A browser draws a broken image for what it cannot decode.
    assert not element(browser, "thumbnail").is_displayed()


def test_the_square_is_shown_before_the_image_is_classified(browser, url, lesions):
    open_page(browser, url)
    browser.execute_script(
        "const send = window.fetch;"
        "window.fetch = (address, options) => address.startsWith('/predict')"
        " ? new Promise(() => {}) : send(address, options);"
    )
    element(browser, "file").send_keys(str(lesions["nv"]))
    wait_for(browser, lambda it: element(it, "thumbnail-note").is_displayed())
    assert element(browser, "drop").get_attribute("aria-busy") == "true"
    image = bounds(browser, element(browser, "thumbnail"))
    assert image["width"] / image["height"] == pytest.approx(4 / 3, abs=0.02)
    square = bounds(browser, element(browser, "thumbnail-square"))
    assert square["width"] == pytest.approx(square["height"], abs=0.5)
    assert square["left"] - image["left"] == pytest.approx(image["width"] / 8, abs=0.5)
    assert not has_result(browser)


def open_crop(browser, url: str, path: Path) -> None:
    """Classify a file and open what moves its square."""
    open_page(browser, url)
    element(browser, "file").send_keys(str(path))
    wait_for(browser, has_result)
    assert not element(browser, "crop-tools").is_displayed()
    element(browser, "crop-open").click()


def ask_again(browser, button: str = "crop-ask") -> None:
    """Ask for a prediction of the square, and wait for it."""
    result = element(browser, "image").get_attribute("src")
    element(browser, button).click()
    wait_for(
        browser,
        lambda it: has_result(it) and element(it, "image").get_attribute("src") != result,
    )


def test_the_keyboard_moves_and_zooms_the_square_and_it_is_classified(
    browser, url, lesions, tmp_path
):
    from selenium.webdriver.common.keys import Keys

    folder = {"behavior": "allow", "downloadPath": str(tmp_path)}
    browser.execute_cdp_cmd("Browser.setDownloadBehavior", folder)
    open_crop(browser, url, lesions["mel"])
    square = browser.switch_to.active_element
    assert square.accessible_name == "Square that the model sees"
    assert element(browser, "crop-zoom").accessible_name == "Zoom"
    first = probabilities(browser)
    assert (
        element(browser, "crop-state").text == "150 pixels wide, 25 from the left, 0 from the top"
    )
    square.send_keys("+")
    side_length = 150 / 1.1
    square.send_keys(Keys.ARROW_LEFT)
    left = 25 + (150 - side_length) / 2 - 0.05 * side_length
    top = (150 - side_length) / 2
    assert element(browser, "crop-state").text == (
        f"{side_length:.0f} pixels wide, {left:.0f} from the left, {top:.0f} from the top"
    )
    assert float(element(browser, "crop-zoom").get_attribute("value")) == pytest.approx(1.1)
    ask_again(browser)
    query = f"?square={left},{top},{side_length}"
    expected = predict_without_browser(url, lesions["mel"].read_bytes(), query)
    found = probabilities(browser)
    assert found == pytest.approx({c["name"]: c["probability"] for c in expected["classes"]})
    assert found != pytest.approx(first)
    assert element(browser, "crop-note").text == "the square that you chose"
    # Its heat maps and values are those of the square, too.
    browser.find_element("css selector", "#bars button[data-name=vasc]").click()
    wait_for(browser, lambda it: "vascular" in element(it, "heat-map-caption").text)
    expected = predict_without_browser(url, lesions["mel"].read_bytes(), f"{query}&class=vasc")
    assert element(browser, "heat-map").get_attribute("src") == expected["heat_map"]
    element(browser, "save-values").click()
    wait_for(browser, lambda it: (tmp_path / "mel.json").is_file())
    row = json.loads((tmp_path / "mel.json").read_text())
    assert row["square"] == pytest.approx([left, top, side_length])
    assert {name: row[f"prob_{name}"] for name in found} == pytest.approx(found, abs=1e-5)
    element(browser, "crop-open").click()
    ask_again(browser, "crop-default")
    assert probabilities(browser) == pytest.approx(first)
    assert element(browser, "crop-note").text == "the bright square"


def test_mouse_wheel_and_slider_move_and_zoom_the_square(browser, url, lesions):
    from selenium.webdriver import ActionChains
    from selenium.webdriver.common.actions.wheel_input import ScrollOrigin
    from selenium.webdriver.common.keys import Keys

    open_crop(browser, url, lesions["nv"])
    view, square = element(browser, "crop-view"), element(browser, "square")

    def place() -> np.ndarray:
        """Return left, top and side length of the square in the view, which may be scrolled."""
        outer, inner = bounds(browser, view), bounds(browser, square)
        corner = [inner[side] - outer[side] for side in ("left", "top")]
        return np.array([*corner, inner["width"]])

    before = place()
    element(browser, "crop-zoom").send_keys(Keys.END)
    after = place()
    assert after[2] == pytest.approx(before[2] / 8, abs=0.5)
    assert after[:2] + after[2] / 2 == pytest.approx(before[:2] + before[2] / 2, abs=0.5)
    ActionChains(browser).drag_and_drop_by_offset(square, 30, -20).perform()
    assert place() - after == pytest.approx([30, -20, 0], abs=1)
    # Not beyond the image.
    ActionChains(browser).drag_and_drop_by_offset(square, -300, 0).perform()
    assert place()[0] == pytest.approx(0, abs=0.5)
    scrolled = browser.execute_script("return scrollY")
    ActionChains(browser).scroll_from_origin(ScrollOrigin.from_element(view), 0, 100).perform()
    wait_for(browser, lambda it: place()[2] > 1.05 * after[2])
    assert browser.execute_script("return scrollY") == scrolled


def test_two_fingers_zoom_the_square(browser, url, lesions):
    screen = {"width": 390, "height": 844, "deviceScaleFactor": 1, "mobile": True}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", screen)
    browser.execute_cdp_cmd("Emulation.setTouchEmulationEnabled", {"enabled": True})
    open_crop(browser, url, lesions["nv"])
    browser.execute_script("arguments[0].scrollIntoView()", element(browser, "crop-view"))
    view, square = (bounds(browser, element(browser, name)) for name in ("crop-view", "square"))
    x, y = view["left"] + view["width"] / 2, view["top"] + view["height"] / 2

    def touch(kind: str, *distances: float) -> None:
        points = [{"x": x + distance, "y": y, "id": i} for i, distance in enumerate(distances)]
        event = {"type": kind, "touchPoints": points}
        browser.execute_cdp_cmd("Input.dispatchTouchEvent", event)

    touch("touchStart", -20, 20)
    touch("touchMove", -40, 40)
    touch("touchEnd")
    zoomed = bounds(browser, element(browser, "square"))
    assert zoomed["width"] == pytest.approx(square["width"] / 2, rel=0.05)
    assert browser.execute_script("return document.documentElement.scrollWidth") <= 390


def test_a_square_is_limited_to_the_image(browser, url):
    open_page(browser, url)
    limit = (
        "const [square, done] = arguments;"
        "import('/crop.js').then((it) => done(it.limitSquare(square, {width: 200, height: 160})));"
    )
    for square, expected in (
        ([50, 40, 80], [50, 40, 80]),
        ([-9, 100, 80], [0, 80, 80]),
        ([50, 10, 300], [40, 0, 160]),  # its middle stays where it was
        ([50, 40, 2], [41, 31, 20]),
    ):
        assert browser.execute_async_script(limit, square) == expected


def test_a_turned_photograph_is_shown_and_cut_upright(browser, url, tmp_path):
    pixels = np.full((90, 160, 3), 200, np.uint8)
    pixels[:, :40] = (250, 0, 0)  # the upper quarter when it is upright
    exif = Image.Exif()
    exif[0x0112] = 6  # to be rotated by 90 degrees clockwise
    Image.fromarray(pixels).save(tmp_path / "turned.jpg", exif=exif, quality=95)
    open_crop(browser, url, tmp_path / "turned.jpg")
    view = bounds(browser, element(browser, "crop-view"))
    assert view["height"] / view["width"] == pytest.approx(160 / 90, abs=0.03)
    assert shown_pixels(browser, "whole").shape == (160, 90, 3)
    assert element(browser, "crop-state").text == "90 pixels wide, 0 from the left, 35 from the top"
    square = element(browser, "square")
    square.send_keys("+" * 9)
    from selenium.webdriver.common.keys import Keys

    square.send_keys(*[Keys.ARROW_UP] * 40)
    ask_again(browser)
    color = shown_pixels(browser, "image")[:, :].reshape(-1, 3).mean(axis=0)
    assert color[0] > 230
    assert color[2] < 60


@pytest.mark.parametrize("name", ["nv", "mel"], ids=("uncertain", "out of distribution"))
def test_a_result_is_printed_on_one_page_with_bars_where_colors_are_forced(
    browser, url, lesions, name
):
    open_crop(browser, url, lesions[name])
    for colors in ("none", "active"):
        feature = {"name": "forced-colors", "value": colors}
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})
        options = {"paperWidth": 8.27, "paperHeight": 11.69}
        content = browser.execute_cdp_cmd("Page.printToPDF", options)["data"]
        assert len(re.findall(rb"/Type */Page\b", base64.b64decode(content))) == 1
    bar = browser.find_element("css selector", "#bars progress")
    assert bar.value_of_css_property("border-top-style") == "solid"
    assert bar.value_of_css_property("forced-color-adjust") == "none"


def test_the_set_and_the_decision_stand_below_the_heading(browser, stores, lesions, tmp_path):
    from models.bundle import save_model, update_description
    from models.factory import build_model

    names = ("benign", "malignant")
    model = build_model("sequential", image_size=32, class_names=names)
    update_description(
        model,
        malignant=("malignant",),
        operating_points={"malignant": {"sensitivity_0.90": 0.0}},
        prediction_sets={"coverage": 0.9, "thresholds": dict.fromkeys(names, 0.0)},
    )
    save_model(model, tmp_path / "model.keras")
    point = "malignant=sensitivity_0.90"
    options = ("--model_path", str(tmp_path / "model.keras"), "--operating_point", point)
    with serving(stores, *options) as url:
        browser.get(url)
        wait_for(browser, lambda it: element(it, "model").text)
        element(browser, "file").send_keys(str(lesions["nv"]))
        wait_for(browser, has_result)
        shown = element(browser, "result").text
        decision = element(browser, "decision").text
        assert decision.startswith("At 90 % sensitivity on validation images: called malignant")
        found = element(browser, "set").text
        assert found.startswith("Prediction set: ")
        assert found.endswith("90 % contain the true class, on images like the validation images.")
        assert shown.index(found) < shown.index("Malignant or prem") < shown.index(decision)


@pytest.mark.parametrize(
    ("class_names", "malignant"),
    [
        (("benign", "malignant"), ("malignant",)),
        (tuple(f"{'a long name of a class ' * 8}{i}" for i in range(30)), ()),
    ],
    ids=("two", "thirty"),
)
def test_the_page_shows_the_classes_of_any_model(
    browser, stores, lesions, tmp_path, class_names, malignant
):
    from models.bundle import save_model, update_description
    from models.factory import build_model

    model = build_model("sequential", image_size=32, class_names=class_names)
    update_description(model, malignant=malignant)
    save_model(model, tmp_path / "model.keras")
    screen = {"width": 320, "height": 844, "deviceScaleFactor": 1, "mobile": True}
    with serving(stores, "--model_path", str(tmp_path / "model.keras")) as url:
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", screen)
        browser.get(url)
        wait_for(browser, lambda it: element(it, "model").text)
        # It has no class of the generated examples.
        assert not element(browser, "tryout").is_displayed()
        element(browser, "file").send_keys(str(lesions["nv"]))
        wait_for(browser, has_result)
        found = probabilities(browser)
        assert set(found) == set(class_names)
        assert list(found.values()) == sorted(found.values(), reverse=True)
        assert not element(browser, "bars-note").is_displayed()
        assert element(browser, "malignant-bar").is_displayed() == bool(malignant)
        assert element(browser, "malignant-text").is_displayed() == bool(malignant)
        note = element(browser, "malignant-note").text
        assert note.startswith("Probability of this class" if malignant else "It is not known")
        bars = browser.find_elements("css selector", ".bars progress")
        assert bars[0].accessible_name.startswith(next(iter(found)))
        assert sum(bar.is_displayed() for bar in bars) == min(len(class_names), 10)
        if len(class_names) > 10:
            assert element(browser, "rest-title").text == "20 less probable classes"
            element(browser, "rest-title").click()
        assert all(bar.is_displayed() for bar in bars)
        assert browser.execute_script("return document.documentElement.scrollWidth") <= 320


def test_a_text_file_named_jpg_gets_a_message(browser, url, lesions, tmp_path):
    send_letter_after_result(browser, url, lesions["nv"], tmp_path / "letter.jpg")
    message = element(browser, "error").text
    assert message.startswith("This file cannot be read as an image")
    assert "Traceback" not in browser.page_source
    # An earlier result must not stay beside the message.
    assert not has_result(browser)


def test_a_file_or_image_that_is_too_large_gets_a_message(browser, url, tmp_path):
    open_page(browser, url)
    assert "up to 20 MB and 50 megapixels" in element(browser, "drop").text
    with open(tmp_path / "large.jpg", "wb") as file:
        file.truncate(AppConfig().max_upload_bytes + 1)
    Image.new("L", (8000, 7000)).save(tmp_path / "wide.png")
    for name, reason in (("large.jpg", "larger than 20 MB"), ("wide.png", "at most 50,000,000")):
        element(browser, "file").send_keys(str(tmp_path / name))
        wait_for(browser, lambda it, reason=reason: reason in element(it, "error").text)


def test_two_tabs_do_not_get_each_others_results(browser, url, lesions):
    names = ("nv", "vasc")
    tabs = []
    for _ in names:
        browser.switch_to.new_window("tab")
        open_page(browser, url)
        tabs.append(browser.current_window_handle)
    # The second uploads while the first is still waiting.
    for tab, name in zip(tabs, names, strict=True):
        browser.switch_to.window(tab)
        element(browser, "file").send_keys(str(lesions[name]))
    for tab, name in zip(tabs, names, strict=True):
        browser.switch_to.window(tab)
        wait_for(browser, has_result)
        expected = predict_without_browser(url, lesions[name].read_bytes())
        assert element(browser, "source").text == f"{name}.jpg"
        assert probabilities(browser) == pytest.approx(
            {item["name"]: item["probability"] for item in expected["classes"]}
        )


def test_no_request_leaves_the_machine(browser, url):
    requested_urls(browser)  # discards those of Chromium's start page
    open_page(browser, url)
    browser.find_elements("css selector", "#examples button")[0].click()
    wait_for(browser, has_result)
    urls = requested_urls(browser)
    assert f"{url}/predict" in urls
    for address in urls:
        assert address.startswith(("data:", f"blob:{url}/", f"{url}/")), address
    assert [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"] == []
    # The browser also blocks requests of the page itself.
    outcome = browser.execute_async_script(
        "const done = arguments[0];"
        "fetch('http://127.0.0.1:9/').then(() => done('sent'), () => done('blocked'));"
        "document.addEventListener('securitypolicyviolation', (e) => done(e.violatedDirective));"
    )
    assert outcome in ("connect-src", "blocked")


def test_the_page_works_with_the_keyboard_and_names_everything_for_screen_readers(browser, url):
    from selenium.webdriver import ActionChains
    from selenium.webdriver.common.keys import Keys

    def press(key: str) -> None:
        ActionChains(browser).send_keys(key).perform()

    open_page(browser, url)
    focused = []
    for _ in range(3):
        press(Keys.TAB)
        focused.append(browser.switch_to.active_element)
    assert "file" in [item.get_attribute("id") for item in focused]
    labels = [item.accessible_name for item in focused if item.tag_name in ("input", "button")]
    assert labels[0] == "Choose files"
    assert "Generated example: melanocytic nevus, predicted" in labels
    press(Keys.ENTER)
    wait_for(browser, has_result)
    assert browser.switch_to.active_element.get_attribute("id") == "prediction"
    images = browser.find_elements("css selector", "#result img")
    # That of the square enlarged is hidden.
    shown = [image for image in images if image.is_displayed()]
    assert (len(shown), len(images)) == (3, 4)
    assert all(image.accessible_name for image in shown)
    for bar in browser.find_elements("css selector", "#result progress"):
        assert bar.accessible_name


@pytest.mark.parametrize("width", [320, 390, 1280])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_fits_the_screen_in_both_color_schemes(browser, url, width, scheme):
    screen = {"width": width, "height": 844, "deviceScaleFactor": 1, "mobile": width < 500}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", screen)
    feature = {"name": "prefers-color-scheme", "value": scheme}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})
    open_page(browser, url)
    browser.find_elements("css selector", "#examples button")[1].click()
    wait_for(browser, has_result)
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width
    color = browser.execute_script("return getComputedStyle(document.body).backgroundColor")
    brightness = np.mean([int(part) for part in color.strip("rgb()").split(",")])
    assert (brightness > 128) == (scheme == "light")


@pytest.fixture
def violations(browser):
    """A function that returns which rules of accessibility what is shown violates."""
    if "AXE_JS" not in os.environ:
        pytest.skip("AXE_JS does not name the file axe.min.js of the npm package axe-core")
    script = Path(os.environ["AXE_JS"]).read_text(encoding="utf-8")

    def run() -> list[str]:
        browser.execute_script(script)
        found = browser.execute_async_script("axe.run().then(arguments[0])")
        return [f"{rule['id']}: {rule['nodes'][0]['html']}" for rule in found["violations"]]

    return run


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_page_and_report_violate_no_rule_of_accessibility(
    browser, url, lesions, violations, tmp_path, scheme
):
    feature = {"name": "prefers-color-scheme", "value": scheme}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})
    open_page(browser, url)
    assert violations() == []
    element(browser, "file").send_keys(str(lesions["nv"]))
    wait_for(browser, has_result)
    assert violations() == []
    element(browser, "crop-open").click()
    assert violations() == []
    element(browser, "clear").click()
    element(browser, "file").send_keys("\n".join(map(str, lesions.values())))
    wait_for(browser, lambda it: element(it, "save-table").is_displayed())
    assert violations() == []
    browser.get(f"{url}/docs")
    assert violations() == []
    browser.get(write_report(tmp_path).as_uri())
    assert violations() == []


def write_report(folder: Path) -> Path:
    """Write the report of 40 made-up predictions."""
    from evaluations import make_evaluation

    from metrics.evaluation import evaluation_metrics
    from metrics.page import build_page
    from metrics.plots import plot_evaluation
    from metrics.sections import Misclassification, ReportContext

    subgroups = {"sex": ["male"] * 35 + ["female"] * 5}
    evaluation = make_evaluation(40, 0, subgroups=subgroups)
    metrics = evaluation_metrics(evaluation, malignant=("mel",), melanoma="mel")
    context = ReportContext("title", {"Model": "a"}, ["A note."], {}, ("mel",), {"melanoma": "Mel"})
    pixels = np.zeros((8, 8, 3), np.uint8)
    page = build_page(
        metrics,
        context,
        figures=plot_evaluation(evaluation, metrics, title="title"),
        errors=[Misclassification("a.jpg", "mel", "nv", 0.9, pixels, pixels)],
    )
    (folder / "report.html").write_text(page, encoding="utf-8")
    return folder / "report.html"


def test_the_page_stores_nothing(browser, url, stores, lesions):
    before = {name: sorted(folder.rglob("*")) for name, folder in stores.items()}
    open_page(browser, url)
    element(browser, "file").send_keys(str(lesions["bcc"]))
    wait_for(browser, has_result)
    assert {name: sorted(folder.rglob("*")) for name, folder in stores.items()} == before
    assert browser.get_cookies() == []
    assert browser.execute_script("return localStorage.length + sessionStorage.length") == 0
