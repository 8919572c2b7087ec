"""A link that a deployment tool flips is followed; a person who goes back does not fight with it."""

from __future__ import annotations

import os
from pathlib import Path

from tests.rig import Rig, fast


def point(link: Path, target: Path) -> None:
    """A new link takes the old one's place."""
    new = link.with_name("new")
    new.symlink_to(target)
    os.replace(new, link)


def test_a_flipped_link_is_a_switch_once_and_what_differs_is_told() -> None:
    with Rig(rest=fast(steps=[100], bake="100ms", drain="100ms")) as rig:
        rig.live_v1("v2", "v3")
        link = rig.home / "current"
        point(link, rig.releases / "v1")
        rig.config.write_text(f'{rig.config.read_text()}\n[releases]\nfollow = "{link}"\n')
        rig.wait_status(lambda s: s["follow"] and s["follow"]["state"] == "followed")

        point(link, rig.releases / "v2")
        rig.wait_status(lambda s: s["release"] == "v2" and s["rollout"] is None)
        told = rig.receipt(2)
        assert (told["actor"], told["outcome"]) == (f"follow {link}", "done")
        rows = rig.relctl("audit", "--json").json["audit"]
        assert (rows[0]["command"], rows[0]["user"]) == ("switch", f"follow {link}")
        assert rig.status()["follow"]["state"] == "followed"

        answer = rig.relctl("rollback")
        assert answer.code == 0, answer.text
        drift = rig.wait_status(lambda s: s["follow"]["state"] == "refused")
        assert "drift: the link says v2, v1 is live" in drift["follow"]["why"]
        assert "drift" in rig.relctl("status").out

        # A link elsewhere is told; and what changes while reld is away is seen when it is back.
        point(link, Path("/"))
        rig.wait_status(lambda s: "none of the releases" in (s["follow"]["why"] or ""))
        rig.kill_reld()
        point(link, rig.releases / "v3")
        rig.start_reld()
        rig.wait_status(lambda s: s["release"] == "v3" and s["rollout"] is None)
        assert (rig.receipt(4)["to"], rig.receipt(4)["actor"]) == ("v3", f"follow {link}")
