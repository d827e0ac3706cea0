"""A real headless Chromium for tests of pages: opens a file; tells what ran, what failed, and what was asked for.

Where no Chromium is installed, tests that need it are skipped aloud; with BEB_REQUIRE_BROWSER set they fail instead.
"""

from __future__ import annotations

import base64
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import pytest
from selenium.webdriver import Chrome, ChromeOptions
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait

_CHROMIUM = ("chromium", "chromium-browser", "google-chrome")
_SWITCHES = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run", "--hide-scrollbars",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-quic",
    "--disable-default-apps", "--disable-extensions", "--disable-features=Translate,OptimizationHints,MediaRouter",
    # What a page asks for is recorded before it is resolved, and goes nowhere.
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE localhost",
)  # fmt: skip
_HEIGHT = 900
_TALLEST_PICTURE = 15_000  # px, what a screenshot can hold
_MOST_SECONDS = 120  # for a page to load
_LOCAL_SCHEMES = ("data:", "blob:", "about:")


class OpenedPage:
    """A page as it stands in the browser. width: of the viewport, CSS px. dark: the theme that the reader prefers."""

    def __init__(self, driver: Chrome, path: Path, *, width: int, dark: bool) -> None:
        self.driver, self.path, self.width, self.dark = driver, path, width, dark
        self._console: list[dict[str, Any]] = []
        self._network: list[dict[str, Any]] = []

    def run(self, script: str, *arguments: Any) -> Any:
        """What the body of a JavaScript function returns; its arguments are `arguments`."""
        return self.driver.execute_script(script, *arguments)

    def console_errors(self) -> list[str]:
        """Errors and warnings since the page was opened: uncaught exceptions, refused scripts and connections."""
        self._console += self.driver.get_log("browser")
        return [entry["message"] for entry in self._console if entry["level"] in ("SEVERE", "WARNING")]

    def requests_made(self) -> list[str]:
        """Addresses that the page asked for, itself and what needs no connection (data:, blob:) left out."""
        logged = (json.loads(entry["message"])["message"] for entry in self.driver.get_log("performance"))
        self._network += logged
        asked = [
            message["params"]["request"]["url"] if "request" in message["params"] else message["params"].get("url", "")
            for message in self._network
            if message["method"] in ("Network.requestWillBeSent", "Network.webSocketCreated")
        ]
        own = self.path.resolve().as_uri()
        return [url for url in asked if url.split("#")[0] != own and not url.startswith(_LOCAL_SCHEMES)]

    def screenshot(self, path: Path, *, whole: bool = True) -> Path:
        """A PNG picture of the whole page, or of what the window shows."""
        clip = {}
        if whole:
            height = min(int(self.run("return document.documentElement.scrollHeight")), _TALLEST_PICTURE)
            clip = {"clip": {"x": 0, "y": 0, "width": self.width, "height": height, "scale": 1}}
        asked = {"format": "png", "captureBeyondViewport": whole, **clip}
        path.write_bytes(base64.b64decode(self.driver.execute_cdp_cmd("Page.captureScreenshot", asked)["data"]))
        return path

    def print_pdf(self, path: Path) -> Path:
        """The page on A4 paper."""
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print", "features": self._features()})
        asked = {"paperWidth": 8.27, "paperHeight": 11.69, "preferCSSPageSize": True}
        path.write_bytes(base64.b64decode(self.driver.execute_cdp_cmd("Page.printToPDF", asked)["data"]))
        self.prefer(dark=self.dark)
        return path

    def prefer(self, *, dark: bool, media: str = "") -> None:
        """Change the theme that the reader prefers, or the medium ("print")."""
        self.dark = dark
        asked = {"media": media, "features": self._features()}
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", asked)

    def press(self, *keys: str) -> None:
        """Press keys one after another, where the focus is: selenium's Keys.TAB, Keys.ENTER, or letters."""
        actions = ActionChains(self.driver, duration=0)
        for key in keys:
            actions.send_keys(key)
        actions.perform()

    def tab(self) -> Any:
        """Press Tab; the element that has the focus then."""
        self.press(Keys.TAB)
        return self.driver.switch_to.active_element

    def load(self) -> None:
        """Load the page, the logs of what was open before forgotten."""
        self.driver.get("about:blank")
        self.driver.execute_cdp_cmd(
            "Emulation.setDeviceMetricsOverride",
            {"width": self.width, "height": _HEIGHT, "deviceScaleFactor": 1, "mobile": False},
        )
        self.prefer(dark=self.dark)
        for kind in ("browser", "performance"):
            self.driver.get_log(kind)
        own = self.path.resolve().as_uri()
        self.driver.get(own)
        # On a busy machine the driver may return while the page's scripts have yet to run.
        WebDriverWait(self.driver, _MOST_SECONDS, poll_frequency=0.05).until(lambda _: self._stands(own))

    def _stands(self, own: str) -> bool:
        return bool(
            self.run("return document.readyState === 'complete' && location.href.split('#')[0] === arguments[0]", own)
        )

    def _features(self) -> list[dict[str, str]]:
        theme = {"name": "prefers-color-scheme", "value": "dark" if self.dark else "light"}
        return [theme, {"name": "prefers-reduced-motion", "value": "reduce"}]


class OpenPage(Protocol):
    """Opens the file of a page in a window of that width (CSS px) and theme."""

    def __call__(self, path: Path, *, width: int = 1280, dark: bool = False) -> OpenedPage: ...


@contextmanager
def chromium(profile: Path) -> Iterator[Chrome]:
    """A Chromium with a fresh profile that logs its console and its connections; skips or fails where there is none."""
    program = next((found for name in _CHROMIUM if (found := shutil.which(name))), None)
    driver_program = shutil.which("chromedriver")
    if program is None or driver_program is None:
        missing = "Chromium" if program is None else "chromedriver"
        told = f"NO BROWSER: {missing} is not on the PATH, so the page was not tested in a browser (install chromium)"
        if os.environ.get("BEB_REQUIRE_BROWSER"):
            pytest.fail(told)
        pytest.skip(told)
    options = ChromeOptions()
    options.binary_location = program
    for switch in (*_SWITCHES, f"--user-data-dir={profile}"):
        options.add_argument(switch)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = Chrome(options=options, service=Service(driver_program, log_output=os.devnull))
    try:
        driver.set_page_load_timeout(_MOST_SECONDS)
        driver.execute_cdp_cmd("Network.enable", {})
        yield driver
    finally:
        driver.quit()


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chrome]:
    """One Chromium for all tests of a session."""
    with chromium(tmp_path_factory.mktemp("chromium")) as driver:
        yield driver


@pytest.fixture(scope="session")
def open_page(browser: Chrome) -> OpenPage:
    """Opens pages in the one browser; a page opened later takes the window of the one before."""

    def opened(path: Path, *, width: int = 1280, dark: bool = False) -> OpenedPage:
        page = OpenedPage(browser, path, width=width, dark=dark)
        page.load()
        return page

    return opened
