"""What a builder or an archive leaves for others to stumble over."""

from __future__ import annotations

import io
import os
import tarfile

from reld.unpack import archive, trees
from tests.contract.test_unix_sockets import dig


def test_whatever_is_below_a_name_of_ours_is_left_out(tmp_path):
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        for name in ("./app.py", ".relctl-incomplete/x", "./.relctl/y"):
            tar.addfile(tarfile.TarInfo(name))
    packed.seek(0)
    root = os.open(tmp_path, os.O_RDONLY)
    archive.unpack(packed, root, 1 << 20)
    os.close(root)
    assert os.listdir(tmp_path) == ["app.py"]


def test_a_link_is_removed_and_not_what_it_leads_to(tmp_path):
    (tmp_path / "to/sub").mkdir(parents=True, mode=0o755)
    (tmp_path / "link").symlink_to("to")
    trees.remove(str(tmp_path / "link"))
    assert not os.path.lexists(tmp_path / "link")
    assert (tmp_path / "to/sub").stat().st_mode & 0o777 == 0o755


def test_what_a_build_dug_too_deep_for_python_is_removed(tmp_path):
    (tmp_path / "top").mkdir()
    dig(tmp_path / "top", 1500)
    trees.remove(str(tmp_path / "top"))
    assert not (tmp_path / "top").exists()
