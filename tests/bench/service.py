"""The emulator for the benches: no quota, and CreateJob as slow as it is told to be.

Usage: service.py PORT [delay SECONDS | hang TIMES]
"""

import signal
import sys

from daemon.importexport.emulator import Emulator

port, fault = int(sys.argv[1]), sys.argv[2:]
with Emulator(port=port, quota=10**9) as emulator:
    match fault:
        case ["delay", seconds]:
            emulator.faults.add("delay", "CreateJob", times=None, seconds=float(seconds))
        case ["hang", times]:
            emulator.faults.add("hang", "CreateJob", times=int(times))
    print("ready", flush=True)
    signal.sigwait({signal.SIGTERM, signal.SIGINT})
