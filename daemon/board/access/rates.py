"""How often something may happen: a bucket that fills steadily and is emptied by use."""

from __future__ import annotations

from daemon.system.clocks import Clock

MAX_KEYS = 1024  # buckets that are remembered; beyond that all are forgotten, which lets more in


class Bucket:
    """Allows `burst` uses at once, and `rate` a second for ever."""

    def __init__(self, rate: float, burst: float, steady: Clock) -> None:
        self._rate, self._burst, self._steady = rate, burst, steady
        self._level, self._at = burst, steady()

    def take(self, amount: float = 1.0) -> bool:
        """Use it if there is enough left; return whether there was."""
        now = self._steady()
        self._level = min(self._burst, self._level + (now - self._at) * self._rate)
        self._at = now
        if self._level < amount:
            return False
        self._level -= amount
        return True


class Buckets:
    """One bucket for each key."""

    def __init__(self, rate: float, burst: float, steady: Clock) -> None:
        self._rate, self._burst, self._steady = rate, burst, steady
        self._buckets: dict[str, Bucket] = {}

    def take(self, key: str) -> bool:
        """Use a key's bucket; return whether there was enough left."""
        if key not in self._buckets:
            if len(self._buckets) >= MAX_KEYS:
                self._buckets.clear()
            self._buckets[key] = Bucket(self._rate, self._burst, self._steady)
        return self._buckets[key].take()
