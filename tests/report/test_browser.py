"""The page in a real browser: the player moves, nothing is asked of the network, it fits, light and dark."""

import pytest
from browsers import needs_browser, opened

pytestmark = needs_browser


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    with opened(tmp_path_factory.mktemp("profile")) as driver:
        yield driver


def show(browser, page, width: int = 1280, scheme: str = "light"):
    """Opens the page at a width, in light or dark."""
    browser.execute_cdp_cmd(
        "Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
    )
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    go(browser, page.as_uri())
    return browser


def go(browser, address: str) -> None:
    """Opens an address and waits until it is there: `get` alone can come back while the old page is being left."""
    from selenium.common.exceptions import WebDriverException
    from selenium.webdriver.support.ui import WebDriverWait

    browser.execute_script("window.left = true")
    browser.get(address)
    there = "return !window.left && location.protocol === 'file:' && document.readyState === 'complete'"
    wait = WebDriverWait(browser, 60, 0.02, ignored_exceptions=[WebDriverException])
    wait.until(lambda driver: driver.execute_script(there))


def player(browser) -> dict:
    """What the player shows now."""
    return browser.execute_script(
        """const get = (id) => document.getElementById(id);
        const last = get("stage-trail").lastElementChild;
        return {step: +get("step").value, most: +get("step").max, name: get("step-name").textContent,
          words: get("stage").getAttribute("aria-label"), path: last.lastElementChild.getAttribute("d"),
          colour: last.lastElementChild.style.stroke, drawn: get("stage-trail").childElementCount,
          patch: document.querySelector("#patch-glimpse .patch").style.backgroundPosition,
          score: get("score-now").textContent, scene: get("scene-list").value,
          playing: get("play").getAttribute("aria-pressed"), photo: get("stage-photo").getAttribute("href"),
          spread: getComputedStyle(get("stage-posterior")).display};"""
    )


def slide(browser, step: int) -> None:
    script = "const s = document.getElementById('step'); s.value = arguments[0]; s.dispatchEvent(new Event('input'));"
    browser.execute_script(script, step)


def keys(browser, *pressed: str) -> dict:
    from selenium.webdriver.common.by import By

    element = browser.find_element(By.ID, "player")
    for key in pressed:
        element.send_keys(key)
    return player(browser)


def colours(text: str) -> list[int]:
    return [int(float(part)) for part in text[text.index("(") + 1 : text.index(")")].split(",")[:3]]


@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_opens_without_a_word_in_the_console_and_fits(browser, page, width, scheme):
    show(browser, page, width, scheme)
    assert browser.get_log("browser") == []
    assert browser.execute_script("return window.hacked") is None
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width
    broken = "return [...document.images].filter((one) => !one.complete || !one.naturalWidth).length"
    assert browser.execute_script(broken) == 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_and_lines_stand_out_from_their_ground(browser, page, scheme):
    show(browser, page, scheme=scheme)
    style = browser.execute_script(
        """const of = (selector, name) => getComputedStyle(document.querySelector(selector))[name];
        return [of("body", "backgroundColor"), of("body", "color"), of(".lead", "color"), of(".chart text", "fill"),
          of(".line.a", "stroke"), of(".line.b", "stroke"), of(".dot.d", "fill"), of(".verdict.bad", "color")];"""
    )
    ground, *inks = [luminance(colours(one)) for one in style]
    assert (ground > 0.8) == (scheme == "light")
    ratios = [(max(ground, ink) + 0.05) / (min(ground, ink) + 0.05) for ink in inks]
    assert min(ratios[:3]) >= 4.5 and min(ratios) >= 3.0  # WCAG 2: text, and graphics
    verdicts = browser.execute_script(
        """return [".lead", ".card .verdict.good", ".card .verdict.bad"].map(
          (one) => getComputedStyle(document.querySelector(one)).color);"""
    )
    assert len(set(verdicts)) == 3


def luminance(colour: list[int]) -> float:
    """Relative luminance of sRGB (WCAG 2)."""
    linear = [(c / 255 / 12.92 if c / 255 <= 0.04045 else ((c / 255 + 0.055) / 1.055) ** 2.4) for c in colour]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_nothing_is_asked_of_the_network(browser, page):
    browser.get_log("performance")
    show(browser, page)
    slide(browser, 3)
    asked = [
        entry["message"] for entry in browser.get_log("performance") if "Network.requestWillBeSent" in entry["message"]
    ]
    outside = [text for text in asked if '"url":"file:' not in text and '"url":"data:' not in text]
    assert outside == []
    assert sum('"url":"file:' in text and '"type":"Document"' in text for text in asked) == 1


def test_the_slider_changes_what_is_seen(browser, page):
    show(browser, page)
    end = player(browser)
    assert end["step"] == end["most"] == 16 and end["spread"] != "none" and end["name"] == "HMC 10 of 10"
    slide(browser, 0)
    first = player(browser)
    assert first["name"] == "Start" and first["spread"] == "none" and first["drawn"] == 1
    slide(browser, 4)
    later = player(browser)
    assert later["name"] == "ShiftNet step 4 of 6" and later["drawn"] == 5
    for part in ("path", "patch", "score", "words", "colour"):
        assert len({first[part], later[part], end[part]}) == 3, part
    red, green, blue = colours(first["colour"])
    assert min(red, green) > 200 and blue < 60  # yellow
    red, green, blue = colours(end["colour"])
    assert blue > 200 and red < 80  # blue
    assert browser.get_log("browser") == []


def test_the_keyboard_alone_drives_it(browser, page):
    from selenium.webdriver.common.keys import Keys

    show(browser, page)
    assert keys(browser, Keys.HOME)["step"] == 0
    assert keys(browser, Keys.ARROW_RIGHT, Keys.ARROW_RIGHT)["step"] == 2
    assert keys(browser, Keys.ARROW_LEFT)["step"] == 1
    assert keys(browser, Keys.END)["step"] == 16
    before, following = int(player(browser)["scene"]), keys(browser, Keys.PAGE_UP)
    assert following["scene"] == str(before - 1) and following["photo"] == f"#photo-{before - 1}"
    assert keys(browser, Keys.PAGE_DOWN, Keys.PAGE_DOWN)["scene"] == "0"  # it began on the last; round the corner
    assert browser.execute_script("return document.activeElement.id") == "player"


def test_the_list_names_each_photograph_once_under_what_went_wrong_and_begins_with_a_success(browser, page):
    show(browser, page)
    groups = browser.execute_script(
        """return [...document.querySelectorAll("#scene-list optgroup")].map(
          (group) => [group.label, [...group.children].map((one) => one.textContent)]);"""
    )
    assert [label for label, _ in groups] == ["Missed: not on the object", "Found"]
    names = [name for _, names in groups for name in names]
    assert len(names) == len(set(names)) == 24
    verdict = "return document.getElementById('scene-verdict').textContent"
    assert browser.execute_script(verdict).startswith("found, IoU 0.82, P\u00a097")


def test_nothing_is_clipped_on_a_phone(browser, page):
    show(browser, page, 390)
    beyond = """return [...document.querySelectorAll("td, th, dd, dt, h1, h2, h3, p, li, select, button, img")]
      .filter((one) => one.offsetParent && !one.closest("#stages") && !one.closest(".hidden"))
      .filter((one) => one.getBoundingClientRect().right > 390.5 || one.scrollWidth > one.clientWidth + 1)
      .filter((one) => !["inline", "contents"].includes(getComputedStyle(one).display))
      .map((one) => one.outerHTML.slice(0, 120));"""
    assert browser.execute_script(beyond) == []


def test_marks_lead_to_the_glossary_and_contents_to_sections(browser, page):
    show(browser, page)
    lost = """return [...document.querySelectorAll("nav a, a.what, #warnings a")]
      .filter((one) => !document.querySelector(one.getAttribute("href"))).length;"""
    assert browser.execute_script("return document.querySelectorAll('nav a').length") >= 9
    assert browser.execute_script("return document.querySelectorAll('.plot a.what').length") >= 4
    assert browser.execute_script(lost) == 0


def test_it_plays_to_the_end_and_stops_when_asked(browser, page):
    from selenium.webdriver.common.by import By
    from selenium.webdriver.support.ui import WebDriverWait

    show(browser, page)
    slide(browser, 13)
    browser.find_element(By.ID, "play").click()
    assert player(browser)["playing"] == "true"
    WebDriverWait(browser, 20, 0.1).until(lambda driver: player(driver)["playing"] == "false")
    assert player(browser)["step"] == 16
    browser.find_element(By.ID, "play").click()  # at the end it begins anew
    began = player(browser)
    assert began["playing"] == "true" and began["step"] < 16
    browser.find_element(By.ID, "play").click()
    assert player(browser)["playing"] == "false"


def test_a_card_is_played_from_its_button(browser, page):
    from selenium.webdriver.common.by import By

    show(browser, page)
    card = browser.find_elements(By.CSS_SELECTOR, ".cards.bad .open")[0]
    wanted = card.get_attribute("data-scene")
    browser.execute_script("arguments[0].scrollIntoView({block: 'center'}); arguments[0].click()", card)
    shown = player(browser)
    assert shown["scene"] == wanted and shown["playing"] == "true"
    assert "missed" in browser.find_element(By.ID, "scene-verdict").text


def test_it_prints(browser, page):
    show(browser, page)
    printed = browser.execute_cdp_cmd("Page.printToPDF", {"printBackground": True})["data"]
    assert len(printed) > 100_000
