"""The emulator for the benches: no quota, and every CreateJob answered after DELAY seconds.

Usage: service.py PORT DELAY
"""

import signal
import sys

from daemon.importexport.emulator import Emulator

port, delay = int(sys.argv[1]), float(sys.argv[2])
with Emulator(port=port, quota=10**9) as emulator:
    if delay:
        emulator.faults.add("delay", "CreateJob", times=None, seconds=delay)
    print("ready", flush=True)
    signal.sigwait({signal.SIGTERM, signal.SIGINT})
