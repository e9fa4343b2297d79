"""Files that the page takes and saves, in a real browser; see `browsing`."""

import base64
import io
import json

import numpy as np
import pytest
from browsing import (
    element,
    has_result,
    open_page,
    probabilities,
    send_letter_after_result,
    shown_pixels,
    wait_for,
)
from PIL import Image

from app.settings import AppConfig

pytestmark = pytest.mark.slow


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
