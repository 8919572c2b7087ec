"""The dashboard's page, put together."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from reld.api.dashboard.page import _squeezed, page
from tests.rig import ROOT, environment


def test_what_is_of_a_person_is_put_in_as_text():
    body, _ = page('"><script>alert(1)</script>', "", "s")
    assert b"<script>alert" not in body
    assert b"&quot;&gt;&lt;script&gt;" in body


def test_the_policy_is_the_same_for_everybody():
    one, other = page("alice", "t", "s"), page("bob", "", "s")
    assert one[1] == other[1]
    assert one[0] != other[0]


def test_a_reld_whose_page_nobody_opens_has_not_read_it():
    asked = "import sys, reld.daemon; print([m for m in sys.modules if 'dashboard' in m])"
    done = subprocess.run(
        [sys.executable, "-c", asked], env=environment(), capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_the_package_brings_its_parts_along(tmp_path: Path):
    from hatchling.builders.wheel import WheelBuilder

    (wheel,) = WheelBuilder(str(ROOT)).build(directory=str(tmp_path), versions=["standard"])
    inside = set(zipfile.ZipFile(wheel).namelist())
    here = ROOT / "daemon/reld/api/dashboard"
    parts = {path.name for path in here.iterdir() if path.suffix in (".html", ".css", ".js")}
    assert {f"reld/api/dashboard/{name}" for name in parts} <= inside
    assert {"page.html", "style.css", "page.js"} <= parts


@pytest.mark.parametrize(
    ("line", "squeezed"),
    [
        ('const a = b ? { c: "x = y" } : 1;', 'const a=b?{c:"x = y"}:1;'),
        ("put(node, `a = ${b} , c`, 1);", "put(node,`a = ${b} , c`,1);"),
        ("const a = 'b = c';", "const a = 'b = c';"),
        ("a = b.replace(/x = y/g, c);", "a = b.replace(/x = y/g, c);"),
        ("a = `${b ? `c = d` : e}`;", "a = `${b ? `c = d` : e}`;"),
        ("return a - -b;", "return a - -b;"),
    ],
)
def test_spaces_are_left_out_only_where_they_mean_nothing(line: str, squeezed: str):
    assert _squeezed(line) == squeezed
