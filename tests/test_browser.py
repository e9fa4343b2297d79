"""The page in a real browser; see `browsing`."""

import numpy as np
import pytest
from browsing import (
    element,
    has_result,
    open_page,
    predict_without_browser,
    probabilities,
    requested_urls,
    serving,
    shown_pixels,
    wait_for,
)
from PIL import Image

pytestmark = pytest.mark.slow


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


def test_a_heat_map_that_fails_leaves_the_prediction(browser, url, lesions):
    open_page(browser, url)
    element(browser, "file").send_keys(str(lesions["nv"]))
    wait_for(browser, has_result)
    browser.execute_script("window.fetch = async () => new Response('busy', {status: 502})")
    browser.find_element("css selector", "#bars button[data-name=vasc]").click()
    wait_for(browser, lambda it: element(it, "error").text)
    assert element(browser, "error").text == "Expected a prediction, received status 502."
    assert has_result(browser)


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


def test_the_page_stores_nothing(browser, url, stores, lesions):
    before = {name: sorted(folder.rglob("*")) for name, folder in stores.items()}
    open_page(browser, url)
    element(browser, "file").send_keys(str(lesions["bcc"]))
    wait_for(browser, has_result)
    assert {name: sorted(folder.rglob("*")) for name, folder in stores.items()} == before
    assert browser.get_cookies() == []
    assert browser.execute_script("return localStorage.length + sessionStorage.length") == 0
