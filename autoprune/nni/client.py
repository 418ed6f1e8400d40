"""The one client of the manager's REST API. NNI's own (``nni.experiment.rest``) takes a second to import, and logs."""

from __future__ import annotations

from typing import Any

import requests

TIMEOUT = 20
"""Seconds."""


def get(port: int, path: str, prefix: str | None = None, timeout: float = TIMEOUT) -> Any:
    """Return the manager's answer.

    Args:
        port: the manager's, on this machine.
        path: behind ``api/v1/nni``.
        prefix: the path under which the manager serves, if any.

    Raises:
        OSError: there is no answer, or it is an error or no JSON.
    """
    return _request("GET", port, path, prefix, timeout=timeout).json()


def put(port: int, path: str, content: Any, prefix: str | None = None) -> None:
    """Change what the manager has.

    Raises:
        OSError: see :func:`get`.
    """
    _request("PUT", port, path, prefix, json=content)


def delete(port: int, path: str, prefix: str | None = None) -> None:
    """Have the manager end what ``path`` names.

    Raises:
        OSError: see :func:`get`.
    """
    _request("DELETE", port, path, prefix)


def _request(method: str, port: int, path: str, prefix: str | None, **options: Any) -> requests.Response:
    parts = (f"http://127.0.0.1:{port}", prefix, "api/v1/nni", path)
    url = "/".join(part.strip("/") for part in parts if part)
    response = requests.request(method, url, **{"timeout": TIMEOUT, **options})
    response.raise_for_status()
    return response
