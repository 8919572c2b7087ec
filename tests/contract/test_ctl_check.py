"""`relctl check` as people see it: with a reld that answers, with none, and with one that may not be asked."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from pathlib import Path

import pytest

from relctl import __version__, find, unaided
from relctl.__main__ import main
from relctl.errors import CtlError
from tests.contract.api_support import user
from tests.fakes.api import HANG, fake_reld

FOUND = [
    {"area": "app", "level": "ok", "text": "/ready is ready within 4 ms", "mend": ""},
    {"area": "nginx", "level": "warning", "text": "shop.example.com goes past the gate — to 127.0.0.1:8000, "
     "which no release reaches, whatever is switched to", "mend": "sudo sed -i '12s|a|b|' /etc/nginx/sites-enabled/shop"},
    {"area": "app", "level": "ok", "text": "instance 0 listens on 127.0.0.1 only", "mend": ""},
    {"area": "host", "level": "ok", "text": "40 GiB are free", "mend": ""},
]  # fmt: skip
BAD = {
    "area": "host",
    "level": "error",
    "text": "only 3 MiB are free",
    "mend": "du -xh /var | sort -h | tail",
}


@pytest.fixture
def reld(monkeypatch):
    with fake_reld() as fake:
        monkeypatch.setenv("RELCTL_SOCKET", fake.path)
        monkeypatch.delenv("RELCTL_APP", raising=False)
        yield fake


@pytest.fixture
def nothing(monkeypatch):
    """A machine without any app; other users may look, which pytest's own directories do not allow."""
    place = Path(tempfile.mkdtemp(prefix="relctl-check-"))
    place.chmod(0o755)
    monkeypatch.delenv("RELCTL_SOCKET", raising=False)
    monkeypatch.delenv("RELCTL_APP", raising=False)
    monkeypatch.setattr(unaided, "CHECKING", 60.0)
    monkeypatch.setattr(find, "RUN", str(place / "run"))
    monkeypatch.setattr(find, "ETC", str(place / "etc"))
    (place / "etc").mkdir()
    (place / "etc").chmod(0o755)
    yield place
    shutil.rmtree(place)


def answer(reld, *findings):
    reld.answer("GET", "/v1/check", {"app": "web", "findings": list(findings)})


def test_what_is_not_fine_stands_with_its_mend_and_the_rest_in_one_line(reld, capsys):
    answer(reld, BAD, *FOUND)
    assert main(["check"]) == 9
    assert capsys.readouterr().out == (
        "host\n"
        "  error    only 3 MiB are free\n"
        "           next: du -xh /var | sort -h | tail\n"
        "\n"
        "reld\n"
        f"  warning  reld is version 9.9, relctl is {__version__}\n"
        f"           next: sudo systemctl restart reld@{os.path.basename(reld.directory)}   (the app goes on)\n"
        "\n"
        "nginx\n"
        "  warning  shop.example.com goes past the gate — to 127.0.0.1:8000, which no release reaches,\n"
        "           whatever is switched to\n"
        "           next: sudo sed -i '12s|a|b|' /etc/nginx/sites-enabled/shop\n"
        "\n"
        "1 error, 2 warnings, 4 of 7 checks are fine; all of them: relctl check -v\n"
    )


def test_all_of_it_with_verbose_and_warnings_alone_are_no_failure(reld, capsys):
    answer(reld, *FOUND)
    assert main(["check", "-v"]) == 0
    out = capsys.readouterr().out
    assert "  ok       /ready is ready within 4 ms\n" in out
    assert out.index("\nnginx\n") < out.index("\npermissions\n") < out.index("\napp\n")
    assert "you are root" in out or "you, " in out


def test_for_programs_it_is_one_object(reld, capsys):
    answer(reld, BAD, *FOUND)
    assert main(["check", "--json"]) == 9
    told = json.loads(capsys.readouterr().out)
    assert told["app"] == "web"
    assert told["findings"][0] == BAD
    assert {"area", "level", "text", "mend"} == set(told["findings"][-1])


def test_nobodys_text_steers_the_terminal(reld, capsys):
    answer(reld, {"area": "app", "level": "warning", "text": "a\x1b[2Jb", "mend": "c\rd"})
    assert main(["check"]) == 0
    assert "\x1b" not in (out := capsys.readouterr().out)
    assert "\r" not in out


def test_without_a_reld_it_tells_what_it_can(nothing, capsys):
    (nothing / "etc" / "shop.toml").write_text("[app]\nexecstart = 1\n")
    assert main(["check"]) == 9
    out = capsys.readouterr().out
    assert "there is no control socket at" in out
    assert "no gate of shop runs" in out
    assert "app.execstart: there is no such key" in out
    assert f"next: sudo reld {nothing}/etc/shop.toml --check" in out


def test_on_a_machine_without_an_app_it_names_the_first_step(nothing, capsys):
    assert main(["check"]) == 9
    assert "next: sudo relctl init APP --write" in capsys.readouterr().out


def test_a_reld_that_hangs_is_not_waited_for_long(reld, capsys, monkeypatch):
    monkeypatch.setattr("relctl.check.PATIENCE", 0.3)
    reld.stream("/v1/check", [HANG])
    assert main(["check"]) == 9
    assert "it does not answer" in capsys.readouterr().out


def test_who_may_not_connect_is_told_how_he_may(tmp_path):
    shut = CtlError(
        "cannot use it: permission denied", 4, "not-permitted", "sudo adduser you relctl"
    )
    (first, *_) = unaided.findings(str(tmp_path / "control.sock"), "web", shut)
    assert (first["area"], first["level"]) == ("permissions", "error")
    assert "adduser" in first["mend"]


def test_a_user_without_rights_gets_an_answer_too(nothing, capsys):
    (nothing / "etc" / "shop.toml").write_text("[app]\n")
    (nothing / "etc" / "shop.toml").chmod(0o600)
    with user(54003):
        assert main(["check", "--json"]) == 9
    path = f"{nothing}/etc/shop.toml"
    findings = json.loads(capsys.readouterr().out)["findings"]
    (one,) = [f for f in findings if f["text"] == f"{path} cannot be checked from here"]
    assert one["mend"] == f"sudo reld {path} --check"


def test_an_older_reld_says_that_it_does_not_know_the_command(reld, capsys):
    reld.refuse("GET", "/v1/check", "no-such-route", 2, 404)
    assert main(["check"]) == 1
    assert "it does not know this command" in capsys.readouterr().err
