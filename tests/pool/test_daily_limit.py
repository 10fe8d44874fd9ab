"""The service makes so many jobs a day for the account, so the stations are counted together."""

import time

import pytest
from as_operator import new_device_id, prepared_once
from stations import claim, made

from daemon.pool import benches

DAY = 24 * 3600.0


def test_the_jobs_of_a_day_are_counted_over_all_stations(join):
    """Also those that the service has finished; not those in doubt, nor those of the day before."""
    first, second = join("bench-1"), join("bench-2")
    now = time.time()
    day_began = now - now % DAY

    def make(station, device_id, signed_at, **published):
        station.claim(one := claim(device_id, signed_at=signed_at), "")
        station.sent(one.id)
        if published:
            made(station, one, f"J-{device_id}", **published)

    make(first, "HD001", day_began, is_filed=True)
    make(first, "HD002", day_began + 1, is_filed=True, is_closed=True)
    make(second, "HD003", day_began + 2, is_filed=False)
    make(first, "HD004", day_began + 3)
    make(first, "HD005", day_began - 1, is_filed=True)

    for station in (first, second):
        found = station.ask(benches.read)
        assert (found["made"], found["day"]) == (3, time.strftime("%F", time.gmtime(now)))


@pytest.mark.xdist_group("pool")
def test_a_station_is_told_that_others_have_made_most_jobs_of_the_day(station, service, plug):
    """From five left on, as without a pool."""
    first, second = (station(name, daily_limit=6).start() for name in ("bench-1", "bench-2"))
    told = "5 of today's 6 jobs are left"
    assert told not in (shown := second.command("status")).stdout + shown.stderr
    device_id = new_device_id()
    drive = plug(device_id)
    first.drop(device_id)
    drive.mount()
    prepared_once(service, first, drive.mount_point, device_id)

    def is_told():
        done = second.command("status")
        return told in done.stdout + done.stderr

    second.until("it is told", is_told)
