"""Three at once: every way in which two of them are held up, on a store in memory."""

import itertools
import random
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import greenlet
import pytest

from imagemill.catalog import Catalog, RetentionPolicy
from imagemill.errors import CallerError, UnusableData
from imagemill.storage.store import MissingObject, ObjectInfo, PreconditionFailed
from tests.support.gate import LATER, VERSION, build, toys

NOW = datetime(2026, 2, 1, tzinfo=UTC)
MONTH_LATER = datetime(2026, 3, 1, tzinfo=UTC)
NEWEST = "20260103T000000Z-efefefef"
AT_ONCE = RetentionPolicy(keep=1)


class MemoryStore:
    """Objects in a dictionary, with generations that are never used twice."""

    uri, parallel_reads = "/memory", 1
    ticket = itertools.count(1)

    def __init__(self, objects):
        self.objects = dict(objects)

    def read(self, key):
        try:
            return self.objects[key][0]
        except KeyError:
            raise MissingObject(key) from None

    def stat(self, key, *, checksum=False):
        found = self.objects.get(key)
        return found and ObjectInfo(key, len(found[0]), generation=str(found[1]))

    def list(self, prefix="", *, checksums=False) -> Iterator[ObjectInfo]:
        return iter([ObjectInfo(k, len(v[0])) for k, v in sorted(self.objects.items()) if k.startswith(prefix)])

    def write(self, key, data, *, if_generation=None, durable=True):
        found = self.objects.get(key)
        if if_generation is not None and if_generation != (str(found[1]) if found else ""):
            raise PreconditionFailed(key)
        self.objects[key] = (data, next(self.ticket))

    def delete(self, key):
        self.objects.pop(key, None)


class Actor:
    """Does one thing, one store operation whenever it is let."""

    def __init__(self, store, action):
        self._store, self._action, self._free = store, action, False
        self._scheduler = greenlet.getcurrent()
        self._work = greenlet.greenlet(self._run)
        self.uri, self.parallel_reads = store.uri, 1
        self._work.switch()

    def _run(self):
        with suppress(CallerError, UnusableData):  # refused or outrun: what counts is what is left
            self._action(Catalog(self.uri, store=self))

    def __getattr__(self, name):
        operation = getattr(self._store, name)

        def held(*args, **options):
            if not self._free:
                self._scheduler.switch()
            return operation(*args, **options)

        return held

    def steps(self, count):
        """Lets it do some operations; returns whether there is one more to do."""
        for _ in range(count):
            if self._work.dead:
                return False
            self._work.switch()
        return not self._work.dead

    def finish(self):
        self._free = True
        if not self._work.dead:
            self._work.switch()


ACTIONS = {
    "prune": lambda catalog: catalog.prune(AT_ONCE, now=NOW),
    "mark": lambda catalog: catalog.prune(RetentionPolicy(keep=1, grace=timedelta(hours=1)), now=NOW),
    "prune candidates": lambda catalog: catalog.prune(AT_ONCE, now=MONTH_LATER),
    "publish old": lambda catalog: catalog.publish(VERSION, now=NOW),
    "publish new": lambda catalog: catalog.publish(NEWEST, now=NOW),
    "rollback": lambda catalog: catalog.rollback(now=NOW),
}


@pytest.fixture(scope="module")
def objects(tmp_path_factory):
    """A dataset with three versions, of which the second is published and the first was."""
    from imagemill.quality.validate import write_report
    from tests.support.gate import judge

    root = tmp_path_factory.mktemp("toys")
    for version in (VERSION, LATER, NEWEST):
        write_report(judge(build(root, toys(6), version=version, shards=1)))
    for version in (VERSION, LATER):
        Catalog(str(root)).publish(version)
    paths = [path for path in root.rglob("*") if path.is_file() and "-images" not in str(path)]
    return {str(Path(path).relative_to(root)): (path.read_bytes(), 0) for path in paths}


@pytest.mark.parametrize(
    "names",
    [
        ("prune", "prune", "publish old"),
        ("prune", "prune", "rollback"),
        ("prune", "publish old", "publish new"),
        ("prune", "publish old", "prune"),
        ("mark", "publish old", "prune"),
        ("rollback", "publish new", "prune"),
    ],
    ids=" + ".join,
)
def test_no_interleaving_of_three_leaves_current_on_a_version_that_is_not_whole(objects, names):
    """The first two are held up after some of their operations; then all three go on, one after the other."""
    outcomes = set()
    for first in itertools.count():
        more = False
        for second in itertools.count():
            last = True
            for order in itertools.permutations(range(3)):
                store = MemoryStore(objects)
                actors = [Actor(store, ACTIONS[name]) for name in names]
                more = actors[0].steps(first) or more
                last = not actors[1].steps(second) and last
                for number in order:
                    actors[number].finish()
                catalog = Catalog(store.uri, store=store)
                published = catalog.current()  # raises where its manifest is gone
                info = next(info for info in catalog.versions() if info.current)
                assert info.obstacle == "", (names, first, second, order)
                assert catalog.history()[0].version == published.version
                outcomes.add(published.version)
            if last:
                break
        if not more:
            break
    assert len(outcomes) > 1


@pytest.mark.parametrize("seed", range(60))
def test_no_schedule_of_four_leaves_current_on_a_version_that_is_not_whole(objects, seed):
    """Any of them may be held up after any of its operations, and as often as chance will have it."""
    chance = random.Random(seed)
    store = MemoryStore(objects)
    # One that prunes candidates is always there: the enumeration above has none.
    names = ["prune candidates", *chance.choices(list(ACTIONS), k=3)]
    actors = [Actor(store, ACTIONS[name]) for name in names]
    while actors:
        actor = chance.choice(actors)
        if not actor.steps(chance.randint(1, 6)):
            actors.remove(actor)
    catalog = Catalog(store.uri, store=store)
    published = catalog.current()  # raises where its manifest is gone
    assert next(info for info in catalog.versions() if info.current).obstacle == "", (names, published)
    assert catalog.history()[0].version == published.version
