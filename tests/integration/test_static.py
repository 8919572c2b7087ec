"""Files of the releases, served by the gate of a real reld through switches and a rollback."""

from __future__ import annotations

import shutil

from tests.rig import Rig, fast

STATIC = 'static = [{ url = "/assets/", dir = "public/assets" }]'
AT_ONCE = fast(steps=[100], step_time="0s", bake="0s", drain="0s")


def put(rig, release, *names):
    directory = rig.release(release) / "public/assets"
    directory.mkdir(parents=True)
    for name in names:
        (directory / name).write_text(f"{release} from disk")
    return directory


def asset(rig, name):
    return rig.get(f"/assets/{name}")[1].decode()


def test_an_old_tab_finds_its_chunks_until_their_release_is_pruned():
    with Rig(gate=STATIC, rest=AT_ONCE) as rig:
        put(rig, "v1", "app-1.js")
        put(rig, "v2", "app-2.js")
        put(rig, "v3", "app-3.js").chmod(0o700)
        assert rig.relctl("switch", "v1").code == 0
        assert rig.relctl("switch", "v2").code == 0
        assert asset(rig, "app-1.js") == "v1 from disk"
        assert asset(rig, "app-2.js") == "v2 from disk"

        third = rig.relctl("switch", "v3", "--json")
        assert third.code == 0, third.text
        warning = rig.relctl("show", "3", "--json").json["warning"]
        assert "cannot read" in warning
        assert f"chmod o+x {rig.releases}/v3/public/assets" in warning
        assert "from disk" not in asset(rig, "app-3.js")

        shutil.rmtree(rig.releases / "v1")
        assert "from disk" not in asset(rig, "app-1.js")
        back = rig.relctl("rollback")
        assert back.code == 0, back.text
        assert asset(rig, "app-2.js") == "v2 from disk"
        # Nobody's verdict and nobody's error: what came from disk was not logged.
        assert not any("app-" in line for line in rig.logged())


def test_a_release_without_the_directory_is_told():
    with Rig(gate=STATIC, rest=AT_ONCE) as rig:
        rig.release("v1")
        assert rig.relctl("switch", "v1").code == 0
        warning = rig.relctl("show", "1", "--json").json["warning"]
        assert "there is no public/assets in release v1" in warning
