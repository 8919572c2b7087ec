"""A stranger listens on the port of an instance that died: users are never sent to him for long."""

from __future__ import annotations

from dataclasses import replace

from reld.core import events as ev
from reld.core.effects import ProveReady, Reload, Spawn, todo
from reld.core.model import InstanceState, Kind, Phase
from reld.core.routing import wanted
from tests.unit.core_driver import POLICY, Driver, steady, switching, with_policy

ONE = with_policy(slot=replace(POLICY.slot, instances=1))
TWO = with_policy(slot=replace(POLICY.slot, instances=2))
FRESH = "127.0.0.1:21090"


def with_its_port_taken(driver: Driver, instead: str) -> Driver:
    """The live slot's first instance died, and somebody else was faster at its port."""
    driver.exits(driver.live.instances[0])
    driver.until(lambda s: Spawn(driver.live.instances[0].number) in todo(s), without=(Spawn,))
    taken = ev.PortTaken(driver.live.instances[0].number, "port 21000 is taken", instead)
    return driver.tell(taken)


def test_the_gate_sends_nobody_to_a_stranger_even_if_nobody_else_is_there():
    driver = with_its_port_taken(steady(policy=ONE), FRESH)
    now = wanted(driver.state).default
    assert now is not None
    assert now.addresses == ()
    assert driver.until(lambda s: s.gate.verified.routing.default == now, without=(Spawn,)).live


def test_the_instance_comes_back_on_another_port_and_the_gate_follows():
    driver = with_its_port_taken(steady(policy=ONE), FRESH).rest()
    assert driver.live.fit
    assert driver.live.instances[0].address == FRESH
    assert driver.state.gate.verified.routing.default is not None
    assert driver.state.gate.verified.routing.default.addresses == (FRESH,)


def test_without_another_port_nobody_is_served_until_its_own_is_free():
    driver = with_its_port_taken(steady(policy=ONE), "")
    own = driver.live.instances[0].address
    driver.until(lambda s: Spawn(driver.live.instances[0].number) in todo(s), without=(Spawn,))
    now = wanted(driver.state).default
    assert now is not None
    assert now.addresses == ()
    driver.rest()
    assert driver.state.gate.verified.routing.default is not None
    assert driver.state.gate.verified.routing.default.addresses == (own,)


def test_the_others_serve_alone_until_the_robbed_one_is_back():
    driver = with_its_port_taken(steady(policy=TWO), FRESH)
    other = driver.live.instances[1].address
    now = wanted(driver.state).default
    assert now is not None
    assert now.addresses == (other,)
    driver.rest()
    then = driver.state.gate.verified.routing.default
    assert then is not None
    assert set(then.addresses) == {FRESH, other}


def test_a_fix_ships_while_a_robbed_app_starts_again_and_again_elsewhere():
    driver = with_its_port_taken(steady(policy=ONE), FRESH)
    # It runs, but never gets ready there; v2 does.
    v1 = (ProveReady,)
    driver.until(lambda s: s.gate.verified.routing == wanted(s), without=v1)
    driver.until(lambda s: driver.live.instances[0].state is InstanceState.STARTING, without=v1)
    driver.begin(Kind.SWITCH, "v2", ONE)
    driver.until(lambda s: driver.rollout.addresses != () and len(s.slots) == 2, without=v1)
    (new,) = driver.candidate.instances
    driver.until(lambda s: driver.candidate.instances[0].runs, without=v1)
    driver.until(
        lambda s: driver.candidate.instances[0].state is InstanceState.STARTING, without=v1
    )
    while driver.phase is Phase.STARTING:
        driver.tell(ev.ReadinessProbed(new.number, passed=True))
    driver.until(lambda s: driver.phase is not Phase.PROVING, without=v1)
    assert not driver.old.dead
    assert driver.phase is Phase.COMMITTING
    assert driver.until(lambda s: s.rollout is None, without=v1).live.release == "v2"


def test_one_that_is_unready_is_named_rather_than_nobody():
    driver = with_its_port_taken(steady(policy=ONE), FRESH)
    driver.until(lambda s: driver.live.instances[0].state is InstanceState.READY, without=(Reload,))
    number = driver.live.instances[0].number
    driver.until(lambda s: s.gate.in_flight is not None, without=(Reload,))
    for _ in range(3):
        driver.tell(ev.ReadinessProbed(number, passed=False, detail="503"))
    assert driver.live.instances[0].state is InstanceState.UNREADY
    driver.reload_ends(ev.End.VERIFIED)
    now = wanted(driver.state).default
    assert now is not None
    assert now.addresses == (FRESH,)


def test_an_old_slot_that_is_robbed_in_the_middle_of_a_rollout_leaves_its_lanes_to_the_candidate():
    driver = with_its_port_taken(switching(Phase.SHIFTING, ONE), FRESH)
    assert driver.rollout.wanted_share == 100
    assert wanted(driver.state).default is not None
    driver.rest()
    assert driver.live.release == "v2"


def test_a_candidate_whose_port_was_taken_has_failed():
    driver = switching(Phase.STARTING, ONE)
    number = driver.candidate.instances[0].number
    assert driver.candidate.instances[0].state is InstanceState.WANTED
    driver.tell(ev.PortTaken(number, "port 21000 is taken by pid 7", FRESH))
    assert driver.phase is Phase.STOPPING
    assert "taken by pid 7" in driver.rollout.reason
