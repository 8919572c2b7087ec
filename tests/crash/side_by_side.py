"""Scenes that mostly wait are played side by side; each is a test of its own all the same.

SCENES = (the_disk_is_full, …)

@pytest.fixture(scope="module")
def playing(): yield from played(SCENES)

@pytest.mark.parametrize("scene", SCENES, ids=named)
def test_the_app_goes_on_when(scene, playing): playing[scene].result()
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

Scene = Callable[[], None]
Playing = dict[Scene, Future[None]]

AT_ONCE = 3


def played(scenes: tuple[Scene, ...]) -> Iterator[Playing]:
    with ThreadPoolExecutor(AT_ONCE) as pool:
        yield {scene: pool.submit(scene) for scene in scenes}


def named(scene: Scene) -> str:
    return scene.__name__
