"""The square that a user chooses on the page, in a real browser; see `browsing`."""

import json

import numpy as np
import pytest
from browsing import (
    bounds,
    element,
    has_result,
    open_crop,
    open_page,
    predict_without_browser,
    probabilities,
    shown_pixels,
    wait_for,
)
from PIL import Image

pytestmark = pytest.mark.slow


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
