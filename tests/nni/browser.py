"""A real headless Chromium, driven through its DevTools protocol: nothing to install beside Chromium itself."""

import base64
import json
import os
import shutil
import signal
import subprocess
import time
from contextlib import ExitStack
from pathlib import Path

import pytest
import requests
from websockets.sync.client import connect

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
OPTIONS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--no-proxy-server",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--remote-debugging-port=0",
    "--window-size=1400,1700",
]

needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="no chromium here: apt-get install chromium")


class Browser:
    """One tab. ``requests`` are the addresses that it asked for, ``errors`` what went wrong in the pages' scripts."""

    def __init__(self, profile: Path):
        self.requests: list[str] = []
        self.errors: list[str] = []
        self._last = 0
        self._open = ExitStack()
        command = [CHROMIUM, *OPTIONS, f"--user-data-dir={profile}", "about:blank"]
        with (profile.parent / "chromium.log").open("w") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
        try:
            self._open_tab(profile / "DevToolsActivePort")
        except BaseException:
            self.close()
            raise

    def _open_tab(self, port_file: Path) -> None:
        end = time.monotonic() + 60
        while not (port_file.exists() and port_file.read_text().count("\n")):
            assert time.monotonic() < end, "Chromium did not start"
            time.sleep(0.05)
        port = port_file.read_text().split()[0]
        (tab,) = [t for t in requests.get(f"http://127.0.0.1:{port}/json", timeout=20).json() if t["type"] == "page"]
        self._socket = self._open.enter_context(connect(tab["webSocketDebuggerUrl"], max_size=None, proxy=None))
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **parameters):
        self._last += 1
        self._socket.send(json.dumps({"id": self._last, "method": method, "params": parameters}))
        while True:
            message = json.loads(self._socket.recv(timeout=60))
            if message.get("id") == self._last:
                assert "error" not in message, message
                return message["result"]
            self._note(message)

    def _note(self, message) -> None:
        kind, content = message["method"], message["params"]
        if kind == "Network.requestWillBeSent":
            self.requests.append(content["request"]["url"])
        elif kind == "Runtime.exceptionThrown":
            details = content["exceptionDetails"]
            self.errors.append(details.get("exception", {}).get("description") or details["text"])
        elif kind == "Log.entryAdded" and content["entry"]["level"] == "error":
            self.errors.append(f"{content['entry']['text']} {content['entry'].get('url', '')}")

    def open(self, url: str) -> None:
        self.call("Page.navigate", url=url)
        self.wait_for("document.readyState === 'complete'", 60)

    def evaluate(self, script: str):
        """Return the value of a JavaScript expression, of a promise that it is waited for."""
        answer = self.call("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def wait_for(self, script: str, seconds: float = 60):
        """Return the first true value of a JavaScript expression."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            value = self.evaluate(script)
            if value:
                return value
            time.sleep(0.1)
        shown = self.evaluate("document.body.innerText")
        raise AssertionError(f"{script}: not within {seconds} s; errors {self.errors}; page:\n{shown}")

    def click(self, x: float, y: float) -> None:
        """Click with the mouse at a place of the window."""
        where = {"x": x, "y": y, "button": "left", "clickCount": 1}
        self.call("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)
        for kind in ("mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, **where)

    def screenshot(self, file: Path) -> None:
        picture = self.call("Page.captureScreenshot", captureBeyondViewport=True)["data"]
        file.write_bytes(base64.b64decode(picture))

    def close(self) -> None:
        self._open.close()
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
