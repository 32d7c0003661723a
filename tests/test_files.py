import ctypes
import errno
import os
import subprocess
from types import SimpleNamespace

import pytest
import torch

from manyways import InputError, WriteError, files


def full_disk(*_):
    raise OSError(errno.ENOSPC, "No space left on device")


def test_json_and_tensors_come_back(tmp_path):
    files.write_json(tmp_path / "a.json", {"x": [1, 2.5, None]})
    assert files.read_json(tmp_path / "a.json") == {"x": [1, 2.5, None]}
    files.write_tensors(tmp_path / "new" / "a.safetensors", {"t": torch.arange(3)})
    assert torch.equal(files.read_tensors(tmp_path / "new" / "a.safetensors")["t"], torch.arange(3))


def test_a_full_disk_leaves_the_old_file_and_nothing_beside_it(tmp_path, monkeypatch):
    path = tmp_path / "a.json"
    files.write_json(path, "old")
    monkeypatch.setattr(os, "fsync", full_disk)
    with pytest.raises(WriteError, match=r"cannot write .*a\.json: the disk is full; free some space and run the same"):
        files.write_json(path, "new")
    assert files.read_json(path) == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["a.json"]


def test_a_folder_appears_whole_or_not_at_all(tmp_path):
    def write_folder(then):
        with files.replacing(tmp_path / "folder") as partial:
            partial.mkdir()
            (partial / "first").write_text("")
            then()

    with pytest.raises(WriteError):
        write_folder(full_disk)
    assert list(tmp_path.iterdir()) == []
    write_folder(lambda: None)
    assert [p.name for p in (tmp_path / "folder").iterdir()] == ["first"]


def test_what_a_killed_writer_left_is_removed(tmp_path):
    dead = subprocess.Popen(["true"])
    dead.wait()
    (tmp_path / f".a.json.{dead.pid}.partial").write_text("half")
    (tmp_path / f".b.{dead.pid}.partial").mkdir()
    kept = {f".c.{os.getpid()}.partial", "kept", ".hidden", ".theirs.partial"}
    for name in kept:
        (tmp_path / name).write_text("")
    files.write_json(tmp_path / "a.json", 1)
    assert {p.name for p in tmp_path.iterdir()} == kept | {"a.json"}


def test_a_place_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(WriteError, match=r"cannot write .*(Not a directory|File exists)"):
        files.write_json(tmp_path / "file" / "a.json", 1)


def test_missing_and_damaged_files_are_named(tmp_path):
    with pytest.raises(InputError, match=r"a\.json does not exist"):
        files.read_json(tmp_path / "a.json")
    (tmp_path / "a.json").write_text('{"x": ')
    with pytest.raises(InputError, match=r"a\.json is damaged or not JSON"):
        files.read_json(tmp_path / "a.json")
    (tmp_path / "a.safetensors").write_bytes(b"\xff" * 40)
    with pytest.raises(InputError, match=r"a\.safetensors is damaged or truncated"):
        files.read_tensors(tmp_path / "a.safetensors")


def test_a_process_lives_until_it_ends():
    process = subprocess.Popen(["sleep", "60"])
    assert files.process_lives(process.pid)
    process.kill()
    process.wait()
    assert not files.process_lives(process.pid)


@pytest.mark.parametrize(("handle", "code", "lives"), [(5, 259, True), (5, 0, False), (0, 0, False)])
def test_on_windows_nobody_is_killed_by_the_question(monkeypatch, handle, code, lives):
    class Kernel:
        def OpenProcess(self, rights, inherit, process):
            assert (rights, inherit, process) == (0x1000, False, 42)
            return handle

        def GetExitCodeProcess(self, opened, result):
            result._obj.value = code

        def CloseHandle(self, opened):
            closed.append(opened)

    closed = []
    monkeypatch.setattr(files.sys, "platform", "win32")
    monkeypatch.setattr(ctypes, "windll", SimpleNamespace(kernel32=Kernel()), raising=False)
    monkeypatch.setattr(os, "kill", lambda *_: pytest.fail("os.kill ends a process on Windows"))
    assert files.process_lives(42) == lives
    assert closed == [handle] * bool(handle)
