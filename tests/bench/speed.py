"""How soon a typed command reaches the traffic: a rollback, and a switch that does not wait."""

from __future__ import annotations

import statistics
import time

from tests.bench.crowd import Crowd, failures, lost
from tests.bench.verdicts import Line
from tests.rig import Rig
from tests.site.site import Site

ROUNDS = 7
BACK = 0.3
QUICK = 1.5
SETTINGS = """
[rollout]
steps = [50, 100]
step_time = "60s"
step_requests = 0
bake = "1m"
drain = "300ms"
drain_max = "2s"
"""
MIX: dict[str, float] = {"keepalive": 16, "oneshot": 8, "websockets": 0, "uploads": 0}
MIX |= {"think": 0.02, "oneshot_think": 0.02}


def measure() -> tuple[Line, ...]:
    """Moments are those of the clients: the begin of the last request that the wrong release answered."""
    typed_back, typed_switch, watched = {}, {}, []
    with Rig(rest=SETTINGS) as rig, Site(rig.listen) as site:
        rig.release("v1")
        assert rig.relctl("switch", "v1").code == 0, rig.reld_log()
        with Crowd(site.port, site.tls_port, **MIX) as crowd:
            for number in range(ROUNDS):
                bad = f"bad-{number}"
                rig.release(bad)
                id_ = rig.relctl("switch", bad, "--no-wait")
                assert id_.code == 0, id_.text
                rig.wait_phase("shifting")
                time.sleep(0.5)
                typed_back[bad] = time.monotonic()
                back = rig.relctl("rollback")
                assert back.code == 0, back.text
                rig.wait_idle()
            live = "v1"
            for number in range(ROUNDS):
                quick = f"quick-{number}"
                rig.release(quick)
                typed_switch[live] = time.monotonic()
                done = rig.relctl("switch", quick, "--now", "--bake", "0", "--until", "shifted")
                watched.append(time.monotonic() - typed_switch[live])
                assert done.code == 0, done.text
                rig.wait_idle()
                live = quick
            whole = crowd.end()
    for failure in failures(whole):
        print(f"  {failure}")
    back_times = [last_begun(whole, name) - at for name, at in typed_back.items()]
    switch_times = [last_begun(whole, name) - at for name, at in typed_switch.items()]
    gone = lost(whole)
    return (
        Line(
            "`relctl rollback` typed → last request begun on the bad slot",
            words(back_times),
            "≤ 300 ms",
            met=statistics.median(back_times) <= BACK,
        ),
        Line(
            "`switch --now --bake 0` typed → last request begun on the old release",
            words(switch_times),
            "≤ 1.5 s",
            met=statistics.median(switch_times) <= QUICK,
        ),
        Line("… until `--until shifted` returns", words(watched)),
        Line(
            "requests lost meanwhile",
            f"{gone} of {sum(seen['total'] for seen in whole['kinds'].values())}",
            "0",
            met=gone == 0,
            binding=True,
        ),
    )


def last_begun(
    whole: dict[str, dict[str, dict[str, dict[str, dict[str, float]]]]], release: str
) -> float:
    return max(
        seen["releases"][release]["last"]
        for seen in whole["kinds"].values()
        if release in seen["releases"]
    )


def words(seconds: list[float]) -> str:
    return f"median {statistics.median(seconds) * 1000:.0f} ms, max {max(seconds) * 1000:.0f} ms"
