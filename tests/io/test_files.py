import errno
import gzip
import hashlib
import json
import os
from pathlib import Path

import pytest

from pipeline.errors import OutputError
from pipeline.io.files import (
    atomic_folder,
    atomic_path,
    gzip_stream,
    output_errors,
    sha256_file,
    sweep_partial,
    write_bytes_atomic,
    write_json_atomic,
)


class Killed(BaseException):
    """A kill that unwinds the stack."""


def write_half(target: Path) -> None:
    with atomic_path(target) as partial:
        partial.write_bytes(b"half")
        assert partial.parent == target.parent
        raise Killed


def test_a_file_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    target = tmp_path / "new" / "cells.bin"
    with pytest.raises(Killed):
        write_half(target)
    assert list(target.parent.iterdir()) == []


def test_a_failed_rewrite_leaves_the_old_file(tmp_path: Path) -> None:
    target = tmp_path / "a.json"
    write_json_atomic(target, {"a": 1})
    with pytest.raises(ValueError, match="JSON compliant"):
        write_json_atomic(target, {"a": float("nan")})
    assert json.loads(target.read_text()) == {"a": 1}
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]


def test_what_is_no_file_is_not_written_over(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for target in (tmp_path, pipe):
        with pytest.raises(OutputError, match="is no file, so nothing is written over it"):
            write_json_atomic(target, {})
    assert pipe.is_fifo()


def test_json_keeps_the_order_of_keys_and_every_letter(tmp_path: Path) -> None:
    write_json_atomic(tmp_path / "a.json", {"z": "Gewebe µ", "a": [1, None]})
    text = (tmp_path / "a.json").read_text(encoding="utf-8")
    assert text.index("z") < text.index('"a"')
    assert "Gewebe µ" in text


@pytest.mark.parametrize(
    ("number", "remedy"),
    [
        (errno.ENOSPC, "no space left"),
        (errno.EDQUOT, "quota"),
        (errno.EACCES, "permission denied"),
        (errno.EROFS, "read-only"),
    ],
)
def test_a_full_or_forbidden_disk_is_one_line_with_the_remedy(
    tmp_path: Path, number: int, remedy: str
) -> None:
    target = tmp_path / "out" / "a.bin"
    with pytest.raises(OutputError, match=remedy) as caught, atomic_path(target):
        raise OSError(number, os.strerror(number))
    message = str(caught.value)
    assert "\n" not in message
    assert "/out: " in message
    assert str(tmp_path) not in message
    assert list(target.parent.iterdir()) == []


def test_a_file_in_the_way_of_a_folder_is_an_output_error(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("a file")
    with pytest.raises(OutputError, match="choose another --out"):
        write_bytes_atomic(tmp_path / "out" / "a.bin", b"")


def test_faults_that_are_not_the_disks_pass_unchanged(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), output_errors(tmp_path):
        (tmp_path / "none").read_bytes()


def test_a_folder_is_replaced_whole(tmp_path: Path) -> None:
    for names in (("a", "b"), ("c",)):
        with atomic_folder(tmp_path / "density") as partial:
            for name in names:
                (partial / name).write_text(name)
    assert [path.name for path in (tmp_path / "density").iterdir()] == ["c"]
    with pytest.raises(Killed), atomic_folder(tmp_path / "density") as partial:
        raise Killed
    assert [path.name for path in tmp_path.iterdir()] == ["density"]
    assert [path.name for path in (tmp_path / "density").iterdir()] == ["c"]


def test_gzip_bytes_depend_on_the_content_alone(tmp_path: Path) -> None:
    found = set()
    for name in ("a.gz", "another name.gz"):
        with gzip_stream(tmp_path / name) as stream:
            stream.write(b"cells")
        found.add((tmp_path / name).read_bytes())
    (packed,) = found
    assert gzip.decompress(packed) == b"cells"
    assert packed[4:8] == b"\0\0\0\0"


def test_sha256_is_that_of_the_bytes(tmp_path: Path) -> None:
    content = os.urandom(3_000_000)
    (tmp_path / "a").write_bytes(content)
    assert sha256_file(tmp_path / "a") == hashlib.sha256(content).hexdigest()


def test_the_rest_of_killed_writers_is_swept(tmp_path: Path) -> None:
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / ".1.partial").write_text("half")
    (tmp_path / ".2.partial").mkdir()
    (tmp_path / "kept").write_text("whole")
    assert sweep_partial(tmp_path) == 2
    assert {path.name for path in tmp_path.rglob("*")} == {"x", "kept"}
