"""reld's own messages, as a journald (or one that does not answer) gets them."""

from __future__ import annotations

import logging
import os
import socket
import subprocess
import sys
import time

import pytest

from reld import journal
from reld.alerts import Alert
from reld.journal import NOTICE, WAITING_MESSAGES, JournalHandler, about, encoded, priority


def parsed(datagram):
    """The fields of one datagram of the native protocol."""
    fields = {}
    while datagram:
        name, mark, rest = datagram.partition(b"\n")
        if b"=" in name:
            key, _, value = name.partition(b"=")
            fields[key.decode()], datagram = value.decode(), rest
            continue
        assert mark
        length = int.from_bytes(rest[:8], "little")
        fields[name.decode()] = rest[8 : 8 + length].decode()
        datagram = rest[9 + length :]
    return fields


@pytest.fixture
def journald(tmp_path):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(str(tmp_path / "socket"))
        listening.settimeout(10)
        yield listening


@pytest.fixture
def logger(tmp_path, journald):
    handler = JournalHandler("web", str(tmp_path / "socket"))
    log = logging.Logger("reld.test")  # noqa: LOG001  its handler ends with the test
    log.addHandler(handler)
    yield log
    handler.close()


def next_of(journald):
    return parsed(journald.recv(1 << 20))


def test_a_message_says_what_it_is_about(logger, journald):
    extra = about(7, "blue", "v2", Alert.WENT_BACK)
    logger.warning("rollout %d: back", 7, extra=extra)
    got = next_of(journald)
    wanted = {
        "MESSAGE": "rollout 7: back",
        "PRIORITY": "4",
        "SYSLOG_IDENTIFIER": "reld",
        "RELCTL_APP": "web",
        "RELCTL_ROLLOUT": "7",
        "RELCTL_SLOT": "blue",
        "RELCTL_RELEASE": "v2",
        "MESSAGE_ID": "a5061fdad5ed4bcab4310821c0c41a7e",
        "LOGGER": "reld.test",
    }
    assert wanted.items() <= got.items()


def test_what_a_message_is_not_about_is_no_field(logger, journald):
    logger.info("hello")
    got = next_of(journald)
    assert got["RELCTL_APP"] == "web"
    assert not {"RELCTL_ROLLOUT", "RELCTL_SLOT", "RELCTL_RELEASE", "MESSAGE_ID"} & got.keys()


def test_no_text_becomes_a_field(logger, journald):
    logger.info("one\nRELCTL_APP=other\nPRIORITY=0")
    got = next_of(journald)
    assert got["MESSAGE"] == "one\nRELCTL_APP=other\nPRIORITY=0"
    assert (got["RELCTL_APP"], got["PRIORITY"]) == ("web", "6")


def test_a_traceback_is_part_of_its_message(logger, journald):
    try:
        raise ValueError("reason")
    except ValueError:
        logger.exception("cannot")
    got = next_of(journald)
    assert got["MESSAGE"].startswith("cannot\nTraceback")
    assert got["PRIORITY"] == "3"


def test_a_message_with_a_mistake_is_told_all_the_same(logger, journald):
    logger.info("%d of %d", *("text",))
    assert "%d of %d" in next_of(journald)["MESSAGE"]


@pytest.mark.parametrize(
    ("level", "number"),
    [(logging.DEBUG, 7), (logging.INFO, 6), (NOTICE, 5), (logging.WARNING, 4), (logging.ERROR, 3),
     (logging.CRITICAL, 2)],
)  # fmt: skip
def test_levels_are_syslogs_priorities(level, number):
    assert priority(level) == number


def test_a_journald_that_takes_nothing_holds_nobody_up_and_the_loss_is_told(logger, journald):
    began = time.monotonic()
    for number in range(3 * WAITING_MESSAGES):
        logger.info("%d", number)
    assert time.monotonic() - began < 5
    said, lost = [], 0
    while len(said) + lost < 3 * WAITING_MESSAGES:
        word = next_of(journald)["MESSAGE"]
        if word.isdigit():
            said.append(int(word))
        else:
            assert word.endswith(
                "messages of reld are not in the journal: journald did not take them"
            )
            lost += int(word.split()[0])
    assert said == sorted(said)
    assert lost > WAITING_MESSAGES
    logger.info("on we go")
    assert next_of(journald)["MESSAGE"] == "on we go"


def test_a_journald_that_is_away_for_a_moment_gets_it_afterwards(tmp_path):
    handler = JournalHandler("web", str(tmp_path / "socket"))
    log = logging.Logger("reld.test")  # noqa: LOG001  its handler ends with the test
    log.addHandler(handler)
    log.info("first")
    time.sleep(0.1)  # it was refused once
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(str(tmp_path / "socket"))
        listening.settimeout(10)
        assert next_of(listening)["MESSAGE"] == "first"
        handler.close()


def test_the_end_waits_for_the_last_words_but_not_for_a_journald_that_is_stuck(tmp_path, journald):
    handler = JournalHandler("web", str(tmp_path / "socket"))
    log = logging.Logger("reld.test")  # noqa: LOG001  its handler ends with the test
    log.addHandler(handler)
    for number in range(2 * WAITING_MESSAGES):
        log.info("%d", number)
    began = time.monotonic()
    handler.close()
    assert time.monotonic() - began < 3


def test_stderr_is_the_journal_only_where_systemd_says_this_very_stream(monkeypatch):
    found = os.fstat(sys.stderr.fileno())
    assert journal.is_stderr(f"{found.st_dev}:{found.st_ino}")
    assert not journal.is_stderr(f"{found.st_dev}:{found.st_ino + 1}")
    assert not journal.is_stderr("")


def test_elsewhere_messages_are_text_on_stderr():
    code = "import logging; from reld import journal; print(journal.set_up('web', {})); logging.info('hello')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("False\n", "INFO root: hello\n")


def test_in_the_journal_the_message_is_only_the_message(tmp_path, journald):
    code = (
        "import logging, os, sys; from reld import journal\n"
        f"journal.JOURNALD = {str(tmp_path / 'socket')!r}\n"
        "found = os.fstat(2)\n"
        "assert journal.set_up('web', {'JOURNAL_STREAM': f'{found.st_dev}:{found.st_ino}'})\n"
        "logging.getLogger('reld').warning('hello')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr == ""
    got = next_of(journald)  # the last word, although the process ended at once
    assert (got["MESSAGE"], got["LOGGER"], got["PRIORITY"]) == ("hello", "reld", "4")


def test_a_value_of_a_megabyte_is_cut():
    assert len(encoded({"MESSAGE": "x" * (1 << 20)})) < 40_000
