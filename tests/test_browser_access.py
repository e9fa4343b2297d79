"""The page on phones, on paper, with the keyboard and for screen readers; see `browsing`."""

import base64
import os
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from browsing import (
    bounds,
    element,
    has_result,
    open_crop,
    open_page,
    send_letter_after_result,
    wait_for,
)

pytestmark = pytest.mark.slow


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
