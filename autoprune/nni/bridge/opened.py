"""The token of a manager that other machines may reach."""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import socket
from collections.abc import Iterator

import psutil

from autoprune.errors import UserError


@contextlib.contextmanager
def token(port: int, url_prefix: str | None) -> Iterator[None]:
    """Give the manager that starts a token of its own, if it opens an address; print it once, in its URL."""
    address = os.environ.get("AUTOPRUNE_BIND")
    if not address:
        yield
        return
    own = os.environ.get("AUTOPRUNE_TOKEN")
    token = own or secrets.token_urlsafe(24)
    if not re.fullmatch(r"[\w-]{16,}", token):
        raise UserError("AUTOPRUNE_TOKEN must be at least 16 letters, digits, - and _")
    os.environ["AUTOPRUNE_TOKEN"] = token
    try:
        yield
    finally:
        if own is None:
            del os.environ["AUTOPRUNE_TOKEN"]
    host = address if address not in ("0.0.0.0", "::") else _own_address()
    url = "/".join(part.strip("/") for part in (f"http://{_bracketed(host)}:{port}", url_prefix) if part)
    print(f"Open to other machines, unencrypted: {url}/?token={token}", flush=True)


def _own_address() -> str:
    addresses = (each for all_ in psutil.net_if_addrs().values() for each in all_ if each.family == socket.AF_INET)
    return next((each.address for each in addresses if not each.address.startswith("127.")), "127.0.0.1")


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host
