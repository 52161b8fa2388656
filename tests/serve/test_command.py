"""`foveate serve` as it is started, with its page in a real browser."""

import re
import signal
import subprocess
import sys

import pytest
from browsers import needs_browser, opened
from untrained import write_untrained

from foveate.demo.digits import make_scene

EVIL = "<img src=x onerror='window.hacked=1'>.png"


@pytest.fixture(scope="module")
def served(tmp_path_factory, environment):
    """The address of a server in a process of its own, which ends at a signal with the status of a stopped program."""
    run = write_untrained(tmp_path_factory.mktemp("serve") / "RUN", 6, 4)
    command = [sys.executable, "-m", "foveate", "serve", str(run), "--port", "0"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment)
    line = process.stderr.readline()
    yield re.search(r"http://127\.0\.0\.1:\d+/", line)[0]
    process.send_signal(signal.SIGINT)
    assert process.wait(30) == 130 and "Traceback" not in process.stderr.read()
    process.stderr.close()


@needs_browser
def test_an_image_that_is_dropped_shows_its_gazes_their_posteriors_and_crops(served, tmp_path):
    from PIL import Image
    from selenium.webdriver.common.by import By
    from selenium.webdriver.support.ui import WebDriverWait

    Image.fromarray(make_scene(range(5), seed=3, index=0).pixels).save(tmp_path / EVIL)
    (tmp_path / "text.png").write_text("no image")
    with opened(tmp_path / "profile") as browser:
        browser.set_window_size(390, 844)
        browser.get(served)
        assert "disc" in browser.find_element(By.ID, "title").text
        said = browser.find_element(By.ID, "said")
        browser.find_element(By.ID, "file").send_keys(str(tmp_path / EVIL))
        WebDriverWait(browser, 60).until(lambda _: " found in " in said.text)
        assert said.text.startswith(EVIL) and browser.execute_script("return window.hacked") is None
        rows = browser.find_elements(By.CSS_SELECTOR, "#list button:not(.seek)")
        assert rows and re.match(r"P \d+\.\d %", rows[0].text)
        drawn = "return document.querySelectorAll('#stage path.gaze').length"
        assert browser.execute_script(drawn) == len(rows)
        assert browser.execute_script("return document.querySelectorAll('#stage .ellipse').length") <= 1
        crops = "[...document.querySelectorAll('#list img')]"
        whole = f"return {crops}.every((one) => one.complete && one.naturalWidth === 96)"
        assert browser.execute_script(whole)
        rows[-1].click()
        assert rows[-1].get_attribute("aria-pressed") == "true"
        assert browser.execute_script("return document.documentElement.scrollWidth <= window.innerWidth")
        assert not browser.find_element(By.ID, "mind").is_displayed() and "likeness" not in rows[0].text
        browser.find_elements(By.CSS_SELECTOR, "#list .seek")[-1].click()
        WebDriverWait(browser, 60).until(lambda _: "likeness" in browser.find_element(By.ID, "list").text)
        assert browser.find_element(By.ID, "mind").is_displayed()
        browser.find_element(By.ID, "any").click()
        WebDriverWait(browser, 60).until(lambda _: " found in " in said.text)
        assert "likeness" not in browser.find_element(By.ID, "list").text
        drop = """const held = new DataTransfer(); held.items.add(new File(["no image"], "text.png"));
            document.getElementById("drop").dispatchEvent(
              new DragEvent("drop", {dataTransfer: held, bubbles: true, cancelable: true}));"""
        browser.execute_script(drop)
        WebDriverWait(browser, 30).until(lambda _: said.get_attribute("class") == "bad")
        assert said.text == "the image: not an image of a known format"
        messages = [entry["message"] for entry in browser.get_log("browser")]
        assert all("422" in message for message in messages), "the browser itself notes a refusal, and nothing else"


def test_a_port_that_is_taken_is_said_in_one_line(served, foveate, tmp_path):
    run = write_untrained(tmp_path / "RUN", 6, 4)
    refused = foveate("serve", run, "--port", served.rsplit(":", 1)[1].strip("/"))
    assert refused.returncode == 2 and "can't listen on 127.0.0.1" in refused.stderr
    assert foveate("serve", tmp_path / "nothing").returncode == 2
