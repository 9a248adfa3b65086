"""Does the page do in a browser what it says? In headless Chromium, driven by Playwright."""

import shutil
from urllib.parse import urlsplit

import numpy as np
import pytest
import soundfile

from audiosr.app.page import open_page
from tests.tiny import save_tiny_model

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), None)


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    pytest.importorskip("gradio", reason="pip install 'audiosr-lightning[app]'")
    model = save_tiny_model(tmp_path_factory.mktemp("models") / "tiny")
    with open_page([str(model)], "cpu") as address:
        yield address


@pytest.fixture
def browser_page(address):
    api = pytest.importorskip("playwright.sync_api", reason="pip install playwright")
    if CHROMIUM is None:
        pytest.skip("no Chromium: apt install chromium")
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM,
            args=["--no-sandbox", "--autoplay-policy=no-user-gesture-required"],
        )
        yield browser.new_page(viewport={"width": 1280, "height": 900}, color_scheme="light")
        browser.close()


@pytest.mark.slow
def test_a_recording_is_restored_seen_compared_and_downloaded(
    browser_page, address, audio_file, chord, tmp_path
):
    page, asked, faults = browser_page, [], []
    page.on("request", lambda request: asked.append(urlsplit(request.url)))
    page.on("pageerror", lambda error: faults.append(str(error)))
    source = audio_file("old tape.wav", chord(2.5, rate=8000, channels=2), 8000)

    page.goto(address)
    page.locator("input[type=file]").first.set_input_files(source)
    page.get_by_text("old tape.wav").wait_for()
    page.get_by_role("button", name="Restore").click()
    page.locator(".restored").wait_for(timeout=60_000)

    assert "2.50 s, 2 channels, kept below" in page.locator(".account").inner_text()
    assert [picture.get_attribute("alt") for picture in page.locator(".panels img").all()] == [
        "Spectrogram of the recording",
        "Spectrogram of the result",
    ]
    widths = page.eval_on_selector_all(".panels img", "all => all.map((one) => one.naturalWidth)")
    assert min(widths) > 600

    before, after = page.locator(".ab audio").all()
    assert before.is_visible()
    assert not after.is_visible()
    before.evaluate("(sound) => { sound.muted = true; sound.play(); }")
    page.wait_for_function("document.querySelector('.ab audio').currentTime > 0.5")
    page.get_by_role("button", name="result").click()
    assert after.is_visible()
    assert not before.is_visible()
    place = after.evaluate("(sound) => sound.currentTime")
    assert abs(place - before.evaluate("(sound) => sound.currentTime")) < 0.3
    assert before.evaluate("(sound) => sound.paused")
    page.wait_for_function(f"document.querySelectorAll('.ab audio')[1].currentTime > {place}")

    with page.expect_download() as download:
        page.locator(".restored").click()
    download.value.save_as(tmp_path / "down.flac")
    wave, rate = soundfile.read(tmp_path / "down.flac")
    assert download.value.suggested_filename == "old tape-restored.flac"
    assert (rate, wave.shape) == (48_000, (120_000, 2))
    assert soundfile.info(tmp_path / "down.flac").subtype == "PCM_24"
    assert np.abs(wave).max() > 0.1

    assert {part.hostname for part in asked if part.scheme.startswith("http")} == {"127.0.0.1"}
    assert faults == []


@pytest.mark.slow
def test_a_mistake_is_a_sentence_in_the_page(browser_page, address, tmp_path):
    page = browser_page
    source = tmp_path / "letter.wav"
    source.write_text("Dear all")

    page.goto(address)
    page.locator("input[type=file]").first.set_input_files(source)
    page.get_by_text("letter.wav").wait_for()
    page.get_by_role("button", name="Restore").click()
    page.locator(".wrong").wait_for(timeout=60_000)

    assert page.locator(".wrong").inner_text() == (
        "letter.wav is not audio that can be read; give WAV, FLAC, MP3 or M4A"
    )
    assert page.locator(".ab").count() == 0


@pytest.mark.slow
def test_a_long_restoration_is_stopped_and_the_next_one_goes_through(
    browser_page, address, audio_file, chord
):
    page = browser_page
    long = audio_file("long.wav", np.tile(chord(10.0, rate=8000), (1, 60)), 8000)
    short = audio_file("short.wav", chord(0.5, rate=8000), 8000)

    page.goto(address)
    page.locator("input[type=file]").first.set_input_files(long)
    page.get_by_text("long.wav").wait_for()
    page.get_by_role("button", name="Restore").click()
    page.get_by_text("restoring 600.0 s").first.wait_for(timeout=60_000)
    page.get_by_role("button", name="Stop").click()
    page.locator(".wrong").wait_for(timeout=60_000)

    assert page.locator(".wrong").inner_text().endswith("stopped")
    assert page.locator(".ab").count() == 0
    page.get_by_label("Clear").first.click()
    page.get_by_label("Clear").first.wait_for(state="detached")  # or it clears the next one
    page.locator("input[type=file]").first.set_input_files(short)
    page.get_by_text("short.wav").wait_for()
    page.get_by_role("button", name="Restore").click()
    page.locator(".restored").wait_for(timeout=60_000)
    assert "0.50 s, 1 channel" in page.locator(".account").inner_text()
