"""The journal of a booted machine: what reld says, what instances say, and who may say something."""

from __future__ import annotations

import json
import os
import subprocess
import threading
from typing import Any

import pytest

from reld.alerts import Alert
from tests.vm import machine
from tests.vm.box import Box

READ = """
import sys
sys.path.insert(0, '/usr/lib/python3/dist-packages')
from reld.processes import journal
journal.settle()
"""
FILL = """
import socket
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
s.setblocking(False)
sent = 0
try:
    while True:
        s.sendto(b'MESSAGE=full\\n', '/run/systemd/journal/socket')
        sent += 1
except BlockingIOError:
    print(sent)
"""
NAME = "relctl-web-r7-blue-12.service"


def entries(box: Box, *matches: str) -> list[dict[str, Any]]:
    box.sh("journalctl --sync")
    said = box.run("journalctl", "-o", "json", "--no-pager", *matches).stdout
    return [json.loads(line) for line in said.splitlines()]


def say(box: Box, line: str, unit: str = NAME, **fields: str) -> None:
    """What a unit of the launcher's writes, by hand. Returns when it is over."""
    given = {"RELCTL_APP": "web", "RELCTL_RELEASE": "v7", "RELCTL_INSTANCE": "12"} | fields
    extra = [f"--property=LogExtraFields={name}={value}" for name, value in given.items()]
    ended = box.run(
        *("systemd-run", "--quiet", "--wait", "--collect", "--slice=relctl.slice"),
        *(f"--unit={unit}", "--property=SyslogIdentifier=web"),
        *("--property=LogRateLimitIntervalSec=0", *extra),
        *("/bin/sh", "-c", line.replace("$", "$$")),
    )
    assert ended.returncode == 0, ended.stderr


def tail(box: Box, fields: dict[str, str] | None = None, lines: int = 10, app: str = "web") -> Any:
    wanted = {"RELCTL_RELEASE": "v7"} if fields is None else fields
    code = (
        f"{READ}import json; print(json.dumps(journal.Journal({app!r}).tail({wanted!r}, {lines})))"
    )
    return json.loads(box.run("/usr/bin/python3", "-c", code).stdout)


@pytest.fixture(params=["volatile", "persistent"])
def journal(box: Box, request: pytest.FixtureRequest) -> Box:
    if request.param == "persistent":
        box.sh(
            "mkdir -p /var/log/journal && systemctl restart systemd-journald && journalctl --flush"
        )
    else:
        box.sh("rm -rf /var/log/journal; systemctl restart systemd-journald")
    return box


def test_the_last_words_of_an_instance_are_there_at_once(journal: Box):
    say(journal, "for i in 1 2 3 4 5; do echo line $i; done; echo last words >&2")
    assert tail(journal, {"RELCTL_INSTANCE": "12"}, 2) == ["line 5", "last words"]
    assert tail(journal, {"RELCTL_INSTANCE": "13"}) == []


def test_no_stranger_puts_a_line_into_an_apps_log(box: Box):
    """Any user may send any field; who sent it is journald's own word."""
    box.sh("useradd --create-home mallory; useradd --system other")
    say(box, "echo real")
    fake = (
        "import socket; s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM);"
        "s.connect('/run/systemd/journal/socket');"
        "s.send(b'MESSAGE=fake\\nRELCTL_APP=web\\nRELCTL_RELEASE=v7\\nRELCTL_INSTANCE=12\\n"
        f"_SYSTEMD_UNIT={NAME}\\n_SYSTEMD_SLICE=relctl.slice\\n"
        "SYSLOG_IDENTIFIER=web\\n')"
    )
    box.run("/usr/bin/python3", "-c", fake, user="mallory")
    box.run("/usr/bin/python3", "-c", fake)  # root, in a unit that is not an instance
    # Another app's instance is no more trusted than a stranger.
    box.write("/srv/fake.py", fake)
    say(box, "python3 /srv/fake.py", "relctl-other-r1-blue-1.service", RELCTL_APP="other")
    say(box, "python3 /srv/fake.py", "relctl-web-r1-x-r1-blue-1.service", RELCTL_APP="web-r1-x")
    assert len([e for e in entries(box, "RELCTL_APP=web") if e["MESSAGE"] == "fake"]) >= 4
    assert tail(box) == ["real"]


def test_what_a_terminal_would_obey_is_not_in_a_line(box: Box):
    say(box, r"printf 'red \033[31mline\n\377\376 bytes\n'")
    assert tail(box) == ["red line", "\ufffd\ufffd bytes"]


def number(text: str) -> int:
    return 400 if text == "end" else int(text or "0")


def test_following_goes_on_over_rotation_flush_and_vacuum_without_gaps_or_doubles(journal: Box):
    code = (
        f"{READ}import time\n"
        "f = journal.Following(journal.Journal('web'), {'RELCTL_RELEASE': 'v7'})\n"
        "found = [e.line for e in f.begin(5)]\n"
        "open('/run/begun', 'w')\n"
        "end = time.monotonic() + 30\n"
        "while 'end' not in found and time.monotonic() < end:\n"
        "    more = f.more(); found += [e.line for e in more]\n"
        "    open('/run/read', 'w').write(found[-1])\n"
        "    time.sleep(0 if more else 0.1)\n"
        "time.sleep(1); found += [e.line for e in f.more()]\n"
        "print(' '.join(found))\n"
    )
    say(journal, "echo before")
    following = journal.start("/usr/bin/python3", "-c", code)
    machine.until("it to follow", lambda: journal.run("test", "-e", "/run/begun").returncode == 0)
    counting = "for i in $(seq 400); do echo $i; echo $i > /run/said; [ $((i % 10)) != 0 ] || sleep 0.1; done; echo end"
    speaking = threading.Thread(target=say, args=(journal, counting))
    speaking.start()
    for _ in range(3):
        journal.sh("sleep 0.5; journalctl --rotate")
    # What is thrown away now has been read: nobody can follow what is gone.
    said_so_far = int(journal.sh("cat /run/said"))
    machine.until("it to read so far", lambda: number(journal.sh("cat /run/read")) >= said_so_far)
    journal.sh("journalctl --flush; journalctl --vacuum-files=2 2>&1")
    speaking.join(30)
    said, wrong = following.communicate(timeout=40)
    assert said.split() == ["before", *map(str, range(1, 401)), "end"], wrong


def test_relds_messages_have_fields_and_alerts_have_their_ids(serving: Box):
    own = entries(serving, "_SYSTEMD_UNIT=reld@web.service", "RELCTL_APP=web")
    ready = next(e for e in own if "is ready" in e["MESSAGE"] and "instance" in e["MESSAGE"])
    assert (ready["RELCTL_ROLLOUT"], ready["RELCTL_RELEASE"]) == ("1", "v1")
    assert ready["RELCTL_SLOT"] in ("blue", "green")
    assert ready["SYSLOG_IDENTIFIER"] == "reld"
    assert ready["PRIORITY"] == "6"
    (done,) = entries(serving, f"MESSAGE_ID={Alert.DONE}")
    assert done["PRIORITY"] == "5"
    assert done["MESSAGE"].startswith("rollout 1: v1 serves")
    assert [e["RELCTL_RELEASE"] for e in entries(serving, f"MESSAGE_ID={Alert.BEGAN}")] == ["v1"]


def test_a_release_that_went_back_is_a_warning_that_can_be_found(serving: Box):
    assert serving.run("relctl", "switch", "v2", "--step-time", "60s", "--no-wait").returncode == 0
    machine.until("traffic to move", lambda: machine.status(serving)["rollout"]["percent"])
    serving.sh("relctl rollback --reason test 2>&1")
    found = machine.until("the alert", lambda: entries(serving, f"MESSAGE_ID={Alert.WENT_BACK}"))
    assert (found[0]["PRIORITY"], found[0]["RELCTL_ROLLOUT"]) == ("4", "2")


def test_the_receipt_of_a_release_that_failed_has_its_last_words(serving: Box):
    serving.sh("echo 'raise SystemExit(\"no database\")' > /srv/web/releases/v2/serve.py")
    said = serving.run("relctl", "switch", "v2")
    assert said.returncode == 1
    assert "no database" in said.stdout + said.stderr
    receipt = json.loads(serving.sh("relctl show 2 --json"))
    assert "no database" in receipt["evidence"]["log"]


def test_a_config_that_is_wrong_is_an_error_in_the_journal(box: Box):
    box.sh("echo nonsense >> /etc/relctl/web.toml; systemctl start --no-block reld@web")
    found = machine.until("the error", lambda: entries(box, "RELCTL_APP=web", "PRIORITY=2"))
    assert "web.toml" in found[0]["MESSAGE"]


def test_logs_are_read_for_members_of_the_group_who_may_not_read_the_journal(serving: Box):
    serving.sh("useradd --create-home --groups relctl anna")
    assert "serves with" not in serving.run("journalctl", "--no-pager", user="anna").stdout
    said = serving.run("relctl", "logs", "-n", "50", user="anna")
    assert said.stdout.count("v1 serves with 3.") == 2, said
    stranger = serving.run("relctl", "logs", user="nobody")
    assert (stranger.returncode, stranger.stdout) != (0, said.stdout)


def test_a_journald_that_is_stuck_stops_neither_reld_nor_a_rollout(serving: Box):
    pid = int(serving.sh("systemctl show -P MainPID systemd-journald"))
    serving.sh("systemctl stop systemd-journald-audit.socket 2>/dev/null; true")
    inside = ["nsenter", f"--target={serving.init}", "-p", "-m", "--"]
    subprocess.run([*inside, "kill", "-STOP", str(pid)], check=True)
    try:
        assert int(ask(serving, "/usr/bin/python3", "-c", FILL).stdout) > 0
        said = ask(serving, "relctl", "switch", "v2", "--timeout", "60s")
        assert said.returncode == 0, said.stdout + said.stderr
    finally:
        subprocess.run([*inside, "kill", "-CONT", str(pid)], check=True)
    assert machine.release(serving) == "v2"
    machine.until("the news afterwards", lambda: entries(serving, f"MESSAGE_ID={Alert.DONE}")[1:])


def ask(box: Box, *command: str) -> subprocess.CompletedProcess[str]:
    """Not as a unit: systemd itself wants to tell journald about those."""
    entered = ["nsenter", f"--target={box.init}", "-m", "-u", "-i", "-p", "-n", "-C", "--"]
    return subprocess.run(
        [*entered, *command], capture_output=True, text=True, timeout=90, check=False,
        stdin=subprocess.DEVNULL, env={"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8"},
    )  # fmt: skip
