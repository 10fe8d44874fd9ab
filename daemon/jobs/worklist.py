"""The jobs that still have a step to take, in memory: what one event concerns is found at once.

They are indexed by number, by the name of the manifest's file, by deviceId and by what they wait
for, so that an event costs what it changes, however many other jobs there are.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import lru_cache
from itertools import islice

from daemon.errors import NO_ADDRESS, OTHER_ACCOUNT
from daemon.jobs.job import Caution, Job, Pending, Submitted

Numbers = tuple[int, ...]


class Worklist:
    """Follows the journal, which puts each job here after its commit. Safe in several threads.

    The texts of what manifests warn of are not kept here: they can be most of a job.
    """

    def __init__(self, jobs: Iterable[Job] = ()) -> None:
        self._lock = threading.RLock()
        self.changes = 0  # how often a job was put here or removed
        self._jobs: dict[int, Job] = {}
        self._by_name: dict[str, Numbers] = {}
        self._by_device: dict[str, Numbers] = {}
        self._names: dict[str, list[str]] = {}
        self._news: set[str] = set()
        self._fresh: dict[int, None] = {}
        # By what a job waits for. A drive that is absent is found by deviceId.
        self._blocked: dict[int, None] = {}
        self._timed: dict[int, None] = {}
        self._obstructed: dict[int, None] = {}
        self._unvalidated: dict[int, None] = {}
        for job in jobs:
            self.put(job)

    def put(self, job: Job) -> None:
        """Add a job, or replace it by what it is now; one that is filed goes."""
        if job.filed:
            self.remove(job)
            return
        with self._lock:
            self.changes += 1
            before = self._jobs.get(job.number)
            self._jobs[job.number] = _brief(job)
            self._fresh[job.number] = None
            self._sort(job)
            if before is None:
                self._index(job)
            if before is None or before.state != job.state:
                self._note(job.device_id)

    def remove(self, job: Job) -> None:
        """Remove a job that was filed or withdrawn. Safe to repeat."""
        with self._lock:
            self.changes += 1
            if self._jobs.pop(job.number, None):
                self._sort(job)
                self._index(job)
                self._note(job.device_id)

    # By number, name and deviceId

    def jobs(self) -> list[Job]:
        """Return all jobs, oldest first."""
        with self._lock:
            return [self._jobs[number] for number in sorted(self._jobs)]

    def __len__(self) -> int:
        """Return how many jobs there are."""
        return len(self._jobs)

    def get(self, number: int) -> Job | None:
        """Return the job with that number in the journal."""
        return self._jobs.get(number)

    def of_name(self, name: str) -> list[Job]:
        """Return the jobs whose manifest has, or had, that name in pending/; oldest first."""
        return self._all(self._by_name.get(name, ()))

    def of_device(self, device_id: str) -> list[Job]:
        """Return the jobs of a deviceId, oldest first."""
        return self._all(self._by_device.get(device_id, ()))

    def file_names(self) -> list[str]:
        """Return the names that jobs have, or had, in pending/."""
        return list(self._by_name)

    @property
    def names(self) -> Mapping[str, list[str]]:
        """Each deviceId that waits for a drive, with the pending manifests that name it.

        It is not a copy: it changes while other threads work.
        """
        return self._names

    # By what they wait for

    def take_fresh(self) -> list[Job]:
        """Return the jobs that came or changed since the last call and that nothing blocks."""
        with self._lock:
            fresh, self._fresh = self._fresh, {}
            return [job for job in self._all(fresh) if job.obstacle is None]

    def timed(self) -> list[Job]:
        """Return the jobs that are tried again at a certain time."""
        return self._all(list(self._timed))

    def obstructed(self) -> list[Job]:
        """Return the jobs that any change may free, other than the coming of their drive."""
        return self._all(list(self._obstructed))

    def unvalidated(self, limit: int) -> list[Job]:
        """Return pending jobs that the service has not validated, oldest first, up to `limit`."""
        with self._lock:
            return self._all(list(islice(self._unvalidated, limit)))

    def blocked(self) -> int:
        """Return how many jobs have an obstacle."""
        return len(self._blocked)

    def take_news(self) -> set[str]:
        """Return the deviceIds whose jobs came, went or changed since the last call."""
        with self._lock:
            news, self._news = self._news, set()
            return news

    def _all(self, numbers: Iterable[int]) -> list[Job]:
        found = map(self._jobs.get, numbers)
        return [job for job in found if job]

    def _index(self, job: Job) -> None:
        """Add a job to the indexes of names and deviceIds, or remove one that is gone."""
        for index, key in ((self._by_name, job.name), (self._by_device, job.device_id)):
            others = tuple(one for one in index.get(key, ()) if one != job.number)
            numbers = (*others, job.number) if job.number in self._jobs else others
            if numbers:
                index[key] = numbers
            else:
                index.pop(key, None)

    def _sort(self, job: Job) -> None:
        """Note what a job waits for."""
        obstacle = job.obstacle
        is_timed = obstacle is not None and obstacle.retry_at is not None
        is_absence = obstacle is not None and obstacle.is_absence
        for kind, fits in (
            (self._blocked, obstacle is not None),
            (self._timed, is_timed),
            (self._obstructed, obstacle is not None and not is_timed and not is_absence),
            (self._unvalidated, _can_be_validated(job)),
        ):
            if fits and job.number in self._jobs:
                kind[job.number] = None
            else:
                kind.pop(job.number, None)

    def _note(self, device_id: str) -> None:
        self._news.add(device_id)
        waiting = [
            job for job in self.of_device(device_id) if isinstance(job.state, Pending | Submitted)
        ]
        if waiting:
            pending = [job.name for job in waiting if isinstance(job.state, Pending)]
            self._names[device_id] = pending
        else:
            self._names.pop(device_id, None)


def _brief(job: Job) -> Job:
    own = _without_texts(tuple(one.code for one in job.cautions if one.is_own))
    others = [one for one in job.cautions if not one.is_own]
    return replace(job, cautions=(*own, *others) if others else own) if job.cautions else job


@lru_cache(maxsize=64)  # one for all jobs of one template
def _without_texts(codes: tuple[str, ...]) -> tuple[Caution, ...]:
    return tuple(Caution(code, "") for code in codes)


def _can_be_validated(job: Job) -> bool:
    """Return whether the service may say what it has against a job that it was not asked about."""
    is_good = job.obstacle is None or job.obstacle.code not in {OTHER_ACCOUNT, NO_ADDRESS}
    return is_good and isinstance(job.state, Pending) and not job.state.validated
