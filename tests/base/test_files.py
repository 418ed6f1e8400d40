"""Reading files that anybody may have put there."""

import os

import pytest

from autoprune.base import files


def test_a_regular_file_is_read_and_nothing_else(tmp_path, monkeypatch):
    file = tmp_path / "result.json"
    file.write_text('{"a": "é"}')
    assert files.read_object(file) == ({"a": "é"}, None)
    (tmp_path / "link").symlink_to(file)
    os.mkfifo(tmp_path / "pipe")  # to open it is to wait for ever
    (tmp_path / "folder").mkdir()
    for name in ("link", "pipe", "folder", "none"):
        with pytest.raises(OSError):
            files.read_regular(tmp_path / name)
    monkeypatch.setattr(files, "LARGEST", 5)
    with pytest.raises(OSError, match="too large"):
        files.read_regular(file)


def test_what_is_damaged_is_said_and_what_is_not_there_is_not(tmp_path):
    assert files.read_object(tmp_path / "none.json") == ({}, None)
    for content, reason in ((b"{", "cannot be read"), (b"[]", "holds no object"), (b'{"a": "\xff"}', "cannot be read")):
        (tmp_path / "bad.json").write_bytes(content)
        found, damage = files.read_object(tmp_path / "bad.json")
        assert found == {}
        assert damage.startswith(f"bad.json {reason}")
