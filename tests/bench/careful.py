"""The cheapest program that keeps the promise, beside the floor, which does not.

It identifies the drive by blkid, proves that it is writable, checks before and after that the same
file system is still mounted there, syncs it, and records each step. It knows the one manifest and
its signed request in advance. Usage: careful.py PORT BODY-FILE LABEL LEDGER
"""

import http.client
import os
import re
import select
import subprocess
import sys

port, body_file, label, ledger = sys.argv[1:]
with open(body_file, "rb") as file:
    body = file.read()
record = os.open(ledger, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
connection = http.client.HTTPConnection("127.0.0.1", int(port))
connection.connect()
mountinfo = os.open("/proc/self/mountinfo", os.O_RDONLY)
poll = select.poll()
poll.register(mountinfo, select.POLLPRI)


def mounts():
    """The mounted NTFS drives: mount id, device number, place and device node."""
    with open("/proc/self/mountinfo") as table:  # one read(2) may return a part of it
        lines = table.read().splitlines()
    fields = [line.split() for line in lines if " fuseblk /dev/loop" in line]
    return {(one[0], one[2], one[4], one[-2]) for one in fields}


def durable(data):
    """Record a step."""
    os.write(record, data)
    os.fsync(record)


def write(root, name, data):
    """Write a file and sync it."""
    file = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644, dir_fd=root)
    os.write(file, data)
    os.fsync(file)
    os.close(file)


def check(mount, root):
    """End if the drive is not the one that was identified."""
    major, minor = map(int, mount[1].split(":"))
    if mount not in mounts() or os.fstat(root).st_dev != os.makedev(major, minor):
        sys.exit("another drive")


known = mounts()
print("ready", flush=True)

while True:
    poll.poll()
    for mount in mounts() - known:
        known.add(mount)
        _, _, target, source = mount
        asked = ["blkid", "-p", "-o", "export", source]
        found = subprocess.run(asked, capture_output=True, text=True, check=False).stdout
        if f"LABEL={label}\n" in found and "TYPE=ntfs\n" in found:
            break
    else:
        continue
    break

root = os.open(target, os.O_RDONLY | os.O_DIRECTORY)
check(mount, root)
if "SIGNATURE" in os.listdir(root):
    sys.exit("it has a SIGNATURE")
write(root, ".SIGNATURE.part", b"x" * 1024)
os.unlink(".SIGNATURE.part", dir_fd=root)
os.fsync(root)
durable(b"submitting\n")
headers = {"Content-Type": "application/x-www-form-urlencoded; charset=utf-8"}
connection.request("POST", "/", body, headers)
text = connection.getresponse().read()
[contents] = re.findall(rb"<SignatureFileContents>\s*(.*?)\s*</", text, re.DOTALL)
durable(text)
check(mount, root)
write(root, ".SIGNATURE.part", contents + b"\n")
os.rename(".SIGNATURE.part", "SIGNATURE", src_dir_fd=root, dst_dir_fd=root)
os.fsync(os.open("SIGNATURE", os.O_RDONLY, dir_fd=root))
os.fsync(root)
check(mount, root)
durable(b"signed\n")
