"""The floor: knows everything in advance and does only what cannot be avoided.

Poll on mountinfo, one durable record, one POST on a warm connection, one durable record, then
temp + fsync + rename + folder fsync on the drive. Usage: floor.py PORT BODY-FILE MOUNT-POINT LEDGER
"""

import http.client
import os
import re
import select
import sys

port, body_file, mount_point, ledger = sys.argv[1:]
with open(body_file, "rb") as file:
    body = file.read()
record = os.open(ledger, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
connection = http.client.HTTPConnection("127.0.0.1", int(port))
connection.connect()
mountinfo = os.open("/proc/self/mountinfo", os.O_RDONLY)
poll = select.poll()
poll.register(mountinfo, select.POLLPRI)
print("ready", flush=True)

needle = f" {mount_point} ".encode()
while True:
    poll.poll()
    if needle in os.pread(mountinfo, 1 << 20, 0):
        break

os.write(record, b"submitting\n")
os.fsync(record)
headers = {"Content-Type": "application/x-www-form-urlencoded; charset=utf-8"}
connection.request("POST", "/", body, headers)
answer = connection.getresponse()
text = answer.read()
[contents] = re.findall(rb"<SignatureFileContents>\s*(.*?)\s*</", text, re.DOTALL)
os.write(record, text)
os.fsync(record)
root = os.open(mount_point, os.O_RDONLY | os.O_DIRECTORY)
partial = os.open("SIGNATURE.part", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644, dir_fd=root)
os.write(partial, contents + b"\n")
os.fsync(partial)
os.rename("SIGNATURE.part", "SIGNATURE", src_dir_fd=root, dst_dir_fd=root)
os.fsync(root)
