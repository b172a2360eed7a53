"""Drives a headless Chromium through a pair of pipes, with nothing but the standard library.

The browser speaks its DevTools protocol over `--remote-debugging-pipe`: JSON messages that end
with a zero byte, read from file descriptor 3 and written to 4. Nothing listens on a port.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import select
import shutil
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
_FLAGS = (
    *("--headless=new", "--no-first-run", "--disable-gpu", "--hide-scrollbars", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update", "--disable-extensions"),
    *("--disable-default-apps", "--no-default-browser-check", "--disable-dev-shm-usage"),
    *("--metrics-recording-only", "--disable-domain-reliability", "--disable-breakpad"),
    # the report may ask for nothing; should it ask all the same, no name is ever looked up
    "--host-resolver-rules=MAP * ~NOTFOUND",
)


def found() -> str | None:
    """Return the path of a Chromium, or None."""
    return next((path for name in NAMES if (path := shutil.which(name))), None)


class BrowserError(Exception):
    """The browser did not start, answer or do what it was asked."""


@dataclass
class Page:
    """One open page; every event since it was opened is kept."""

    browser: Browser
    session: str
    events: list[dict[str, Any]] = field(default_factory=list)

    def send(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Send one command and return its result."""
        return self.browser.send(method, self.session, parameters)

    def go(self, url: str) -> None:
        """Open an address and wait until it has loaded."""
        self.events.clear()
        self.send("Page.navigate", url=url)
        self.browser.wait(lambda: any(e["method"] == "Page.loadEventFired" for e in self.events))

    def evaluate(self, expression: str) -> Any:
        """Return the value of a JavaScript expression; promises are awaited."""
        answer = self.send(
            "Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True
        )
        if "exceptionDetails" in answer:
            raise BrowserError(json.dumps(answer["exceptionDetails"])[:600])
        return answer["result"].get("value")

    def size(self, width: int, height: int) -> None:
        """Set the size of the view, in CSS pixels."""
        self.send(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=width < 600,
        )

    def media(self, **features: str) -> None:
        """Emulate media features; underscores stand for dashes."""
        given = [{"name": k.replace("_", "-"), "value": v} for k, v in features.items()]
        self.send("Emulation.setEmulatedMedia", media="", features=given)

    def picture(self, path: Path) -> Path:
        """Write a picture of the whole page."""
        answer = self.send("Page.captureScreenshot", captureBeyondViewport=True)
        path.write_bytes(base64.b64decode(answer["data"]))
        return path

    def asked(self) -> list[str]:
        """Return every address that was asked for since the last `go`."""
        sent = (e for e in self.events if e["method"] == "Network.requestWillBeSent")
        return [e["params"]["request"]["url"] for e in sent]

    def complaints(self) -> list[str]:
        """Return what stands on the console: errors, warnings, violated policies, exceptions."""
        told = []
        for event in self.events:
            about = event["params"]
            if event["method"] == "Log.entryAdded":
                told.append(about["entry"]["text"])
            elif event["method"] == "Runtime.exceptionThrown":
                told.append(json.dumps(about["exceptionDetails"]))
            elif event["method"] == "Runtime.consoleAPICalled":
                told.append(f"{about['type']}: {json.dumps(about['args'])[:300]}")
            elif event["method"] == "Audits.issueAdded":
                told.append(json.dumps(about["issue"])[:300])
            elif event["method"] == "Page.javascriptDialogOpening":
                told.append(f"a dialogue: {about['message']}")
        return told


class Browser:
    """A running browser; `open` starts one."""

    def __init__(self, process: subprocess.Popen[bytes], reading: int, writing: int) -> None:
        self._process = process
        self._reading, self._writing = reading, writing
        self._buffer = b""
        self._number = 0
        self._answers: dict[int, dict[str, Any]] = {}
        self._pages: dict[str, Page] = {}

    def send(
        self, method: str, session: str | None = None, parameters: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        """Send one command and wait for its answer."""
        self._number += 1
        number = self._number
        message: dict[str, Any] = {"id": number, "method": method, "params": parameters or {}}
        if session is not None:
            message["sessionId"] = session
        os.write(self._writing, json.dumps(message).encode() + b"\0")
        self.wait(lambda: number in self._answers)
        answer = self._answers.pop(number)
        if "error" in answer:
            raise BrowserError(f"{method}: {answer['error']}")
        return answer["result"]

    def wait(self, done: Any, seconds: float = 60.0) -> None:
        """Take messages until `done()`."""
        end = time.monotonic() + seconds
        while not done():
            if time.monotonic() > end or self._process.poll() is not None:
                raise BrowserError(f"no answer; exit status {self._process.poll()}")
            ready, _, _ = select.select([self._reading], [], [], 0.2)
            if ready:
                self._take(os.read(self._reading, 1 << 20))

    def _take(self, raw: bytes) -> None:
        *whole, self._buffer = (self._buffer + raw).split(b"\0")
        for text in whole:
            message = json.loads(text)
            if "id" in message:
                self._answers[message["id"]] = message
            elif (page := self._pages.get(message.get("sessionId", ""))) is not None:
                page.events.append(message)

    def page(self) -> Page:
        """Open an empty page whose console, network and policy are watched."""
        target = self.send("Target.createTarget", parameters={"url": "about:blank"})["targetId"]
        answer = self.send(
            "Target.attachToTarget", parameters={"targetId": target, "flatten": True}
        )
        page = Page(self, answer["sessionId"])
        self._pages[page.session] = page
        for domain in ("Page", "Network", "Runtime", "Log", "Audits"):
            page.send(f"{domain}.enable")
        return page


@contextlib.contextmanager
def start(path: str, folder: Path) -> Iterator[tuple[Browser, Path]]:
    """Start a browser with a fresh profile; yield it and the file of its network log.

    Args:
        path: of the browser.
        folder: for the profile and the log, which is complete once the block ends.
    """
    to_browser, writing = os.pipe()
    reading, from_browser = os.pipe()
    log = folder / "network.json"
    words = [path, *_FLAGS, f"--user-data-dir={folder / 'profile'}", f"--log-net-log={log}"]
    words += ["--remote-debugging-pipe"] + (["--no-sandbox"] if os.geteuid() == 0 else [])
    # the shell puts the pipes where the browser looks for them: at 3 and 4
    line = f'exec "$@" 3<&{to_browser} 4>&{from_browser}'
    with open(folder / "browser.log", "wb") as said:
        process = subprocess.Popen(
            ["bash", "-c", line, "bash", *words, "about:blank"],
            pass_fds=(to_browser, from_browser),
            stdout=said,
            stderr=said,
            env={**os.environ, "HOME": str(folder)},
        )
    os.close(to_browser)
    os.close(from_browser)
    browser = Browser(process, reading, writing)
    try:
        browser.send("Browser.getVersion")
        yield browser, log
    finally:
        with contextlib.suppress(BrowserError, OSError):
            browser.send("Browser.close")
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(20)
        if process.poll() is None:
            process.kill()
            process.wait()
        os.close(reading)
        os.close(writing)
