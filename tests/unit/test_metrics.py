"""The page of metrics, and the files that speak of it."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import re
import sys
import threading
from dataclasses import replace

import pytest

from reld.api.service import SlotVitals, Vitals
from reld.core.model import Color, Instance, InstanceState, Kind, Phase, Rollout, Slot, State
from reld.core.policy import Policy, SlotPolicy
from reld.errors import Refused
from reld.metrics import scrape
from reld.metrics.facts import BOUNDS, Addressee, Answered, Disk, Facts, Feed
from reld.metrics.page import page
from reld.metrics.textfile import TextFile
from tests.scrape import ALERTS, DASHBOARD, families, names_in, queries, samples, value

VITALS = Vitals(10.0, 0.0, {"blue": SlotVitals(rss_bytes=5, cpu_percent=50.0, processes=2)})
BLUE = Slot(
    Color.BLUE,
    "v1",
    1,
    SlotPolicy(),
    (Instance(7, 0, "127.0.0.1:1", InstanceState.READY, restarts=2),),
    workers=(Instance(8, 0, "", InstanceState.READY, worker="cron"),),
)
RUNNING = Rollout(3, Kind.SWITCH, Phase.SHIFTING, 5.0, 1.0, Policy(), from_="v1", to='v"2\\')
FACTS = Facts(
    100.0,
    (Answered("blue", "v1", 10, 1, times=(1,) * (len(BOUNDS) + 1), seconds=7.5),),
    Feed(99.0, 4, silent="the gate is silent"),
    {("switch", "rolled_back"): 2, ("eject", "done"): 1},
    {7: 0.25},
    (Disk("state", 1, 2),),
    (Addressee("https://hooks.example.com/...", 5, 1, 2),),
)
STATE = replace(State("web", "boot"), blue=BLUE, rollout=RUNNING, next_generation=4)
PAGE = page(STATE, VITALS, FACTS)


def test_every_metric_that_a_file_names_is_in_the_scrape():
    there = set(samples(PAGE)) | {name for f in families(PAGE).values() for name in _of(f)}
    speaks = names_in(ALERTS.read_text()) | names_in(" ".join(queries(DASHBOARD)))
    assert speaks - there - {"reld_up"} == set()
    assert len(speaks) > 20


def _of(family):
    if family.type == "counter":
        return {f"{family.name}_total"}
    return {family.name, f"{family.name}_bucket"}


def test_every_metric_is_explained_and_has_the_app():
    for family in families(PAGE).values():
        assert family.documentation.endswith("."), family.name
        assert re.fullmatch(r"reld_[a-z_]+", family.name)
        for sample in family.samples:
            assert sample.labels["app"] == "web"


def test_a_histogram_is_cumulative_and_ends_with_all_of_them():
    found = samples(PAGE)["reld_request_first_byte_seconds_bucket"]
    counts = [count for labels, count in found if labels["release"] == "v1"]
    assert counts == sorted(counts)
    assert counts[-1] == len(BOUNDS) + 1
    assert value(PAGE, "reld_request_first_byte_seconds_sum", release="v1") == 7.5


def test_counts_of_the_store_are_there_and_what_never_was_is_zero():
    assert value(PAGE, "reld_rollouts_total", kind="switch", outcome="rolled_back") == 2
    assert value(PAGE, "reld_rollouts_total", kind="eject", outcome="done") == 1
    assert value(PAGE, "reld_rollouts_total", kind="rollback", outcome="done") == 0


def test_a_release_that_nobody_asked_yet_has_a_series_that_can_grow():
    fresh = page(STATE, VITALS, Facts())
    assert value(fresh, "reld_requests_total", slot="blue", release="v1") == 0


def test_processes_probes_feed_disks_and_messages_are_told():
    assert value(PAGE, "reld_instance_restarts_total", instance="0") == 2
    assert value(PAGE, "reld_instance_probe_seconds", instance="0") == 0.25
    assert value(PAGE, "reld_worker_running", worker="cron") == 1
    assert value(PAGE, "reld_slot_cpu_cores", slot="blue") == 0.5
    assert value(PAGE, "reld_feed_silent") == 1
    assert value(PAGE, "reld_feed_last_line_time_seconds") == 99
    assert value(PAGE, "reld_disk_free_bytes", place="state") == 1
    assert value(PAGE, "reld_gate_reloads_total") == 3
    assert value(PAGE, "reld_notifications_total", result="lost") == 1


def test_a_name_with_quotes_and_backslashes_is_read_back_as_it_is():
    assert value(PAGE, "reld_rollout_number", to='v"2\\') == 3


def test_the_dashboard_can_be_imported():
    board = json.loads(DASHBOARD.read_text())
    ids = [panel["id"] for panel in board["panels"]]
    assert board["uid"] == "relctl"
    assert len(ids) == len(set(ids)) > 10
    for panel in board["panels"]:
        at = panel["gridPos"]
        assert at["x"] + at["w"] <= 24
        assert panel["title"]
    for query in queries(DASHBOARD):
        assert 'app="web"' in query


def test_without_the_library_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    with pytest.raises(Refused) as refused:
        page(STATE, VITALS, FACTS)
    assert refused.value.hint == "sudo apt install python3-prometheus-client"


async def test_a_disk_that_hangs_is_left_out_and_takes_one_thread_however_often_it_is_asked(
    tmp_path, monkeypatch
):
    dead, back, asked, statvfs = tmp_path / "dead", threading.Event(), [], os.statvfs

    def hanging(path):
        if path == dead:
            asked.append(path)
            back.wait(30)
        return statvfs(tmp_path)

    monkeypatch.setattr(os, "statvfs", hanging)
    monkeypatch.setattr(scrape, "PATIENCE", 0.01)
    try:
        assert await scrape.disks({"releases": dead}) == []
        monkeypatch.setattr(scrape, "PATIENCE", 30.0)
        for _ in range(20):
            found = await scrape.disks({"releases": dead, "state": tmp_path})
            assert [disk.place for disk in found] == ["state"]
        assert len(asked) <= 1
    finally:
        back.set()


# the file for node_exporter


def text_file(path, content=b"reld_up 1\n", every=0.001):
    async def made():
        return content

    return TextFile(lambda: str(path), made, every)


async def until_written(file, path):
    task = asyncio.create_task(file.keep())
    async with asyncio.timeout(30):
        while not path.exists():
            await asyncio.sleep(0.001)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_the_file_is_whole_others_can_read_it_and_it_goes_with_reld(tmp_path):
    path = tmp_path / "relctl-web.prom"
    file = text_file(path)
    await until_written(file, path)
    assert path.read_bytes() == b"reld_up 1\n"
    assert path.stat().st_mode & 0o777 == 0o644
    file.finish()
    assert not path.exists()
    assert [p.name for p in tmp_path.iterdir() if p.suffix == ".prom"] == []


async def test_what_stands_in_the_place_of_the_new_file_is_not_followed(tmp_path):
    path, victim = tmp_path / "relctl-web.prom", tmp_path / "victim"
    victim.write_text("mine")
    (tmp_path / ".relctl-web.prom.new").symlink_to(victim)
    await until_written(text_file(path), path)
    assert victim.read_text() == "mine"


async def test_a_missing_directory_is_told_once_and_the_file_comes_with_it(tmp_path, caplog):
    caplog.set_level(logging.INFO, "reld.metrics")
    path = tmp_path / "later" / "relctl-web.prom"
    tried = asyncio.Semaphore(0)

    async def made():
        tried.release()
        return b"x 1\n"

    file = TextFile(lambda: str(path), made, 0.001)
    task = asyncio.create_task(file.keep())
    async with asyncio.timeout(30):
        for _ in range(5):
            await tried.acquire()
        os.mkdir(path.parent)
        while "the metrics are in" not in caplog.text:
            await asyncio.sleep(0.001)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert path.read_bytes() == b"x 1\n"
    assert caplog.text.count("cannot write the metrics") == 1


@pytest.mark.parametrize("wanted", ["", "other"])
async def test_a_file_that_is_not_wanted_any_more_goes(tmp_path, wanted):
    first, second = tmp_path / "a.prom", tmp_path / "b.prom"
    now = [str(first)]

    async def made():
        return b"x 1\n"

    file = TextFile(lambda: now[0], made, 0.001)
    task = asyncio.create_task(file.keep())
    async with asyncio.timeout(30):
        while not first.exists():
            await asyncio.sleep(0.001)
        now[0] = wanted and str(second)
        while first.exists() or (wanted and not second.exists()):
            await asyncio.sleep(0.001)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
