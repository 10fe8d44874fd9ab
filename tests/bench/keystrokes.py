"""How long a person's hands and eyes take for forty drives, by the keystroke-level model.

K 0.28 s for a key, P 1.1 s to point at something, H 0.4 s to change between keyboard and mouse,
M 1.35 s to think or to read a line (Card, Moran and Newell). What is done with the drives and the
paper themselves is not in it: it is the same either way.
Usage: python tests/bench/keystrokes.py      prints the tables of docs/many-drives.md
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

K, P, H, M = 0.28, 1.1, 0.4, 1.35  # seconds
DRIVES, BAYS = 40, 8
ROUNDS = DRIVES // BAYS


@dataclass(frozen=True)
class Step:
    """Something that is typed, pointed at or read, and how often for all forty drives."""

    what: str
    times: int
    typed: str = ""  # a command is followed by Enter
    keys: int = 0  # others
    points: int = 0
    hands: int = 0
    thoughts: int = 1

    def seconds(self) -> float:
        """Return the time for all forty drives."""
        keys = self.keys + (len(self.typed) + 1 if self.typed else 0)
        once = K * keys + P * self.points + H * self.hands + M * self.thoughts
        return once * self.times


WITH = (
    Step("all manifests of the list", 1, "driveprep new t.yml --csv list.csv --submit", thoughts=2),
    Step("correct five wrong rows, save the list", 5, keys=10, points=1, hands=2, thoughts=2),
    Step("the same command again", 1, keys=2, thoughts=2),
    Step("the disks of the first round", 1, "sudo driveprep format --batch list.csv --present"),
    Step("the same command for each further round", ROUNDS - 1, keys=2),
    Step("read the result of a round", ROUNDS, thoughts=2),
    Step("look for `safe to remove` on the screen", DRIVES),
    Step("compare the slip with the drive", DRIVES),
    Step("all drives have left", 1, "driveprep shipped HD001..HD040 --carrier UPS", thoughts=2),
    Step("the jobs, for accounting", 1, "driveprep jobs --csv > jobs.csv"),
)
# The guide's six steps, with everything that a script can do done by one.
BY_HAND = (
    Step("1: copy a manifest", DRIVES, "cp HD001.yml HD002.yml"),
    Step("1: open it, change deviceId and bucket, save", DRIVES, "nano HD002.yml", 34, thoughts=3),
    Step("find the disk among the others", DRIVES, "lsblk -o NAME,SIZE,SERIAL", thoughts=2),
    Step("make it NTFS", DRIVES, "sudo mkfs.ntfs -Q -L HD002 /dev/sdc1", thoughts=2),
    Step("mount it", DRIVES, "sudo mount /dev/sdc1 /mnt/HD002"),
    Step("2 to 4: a script encodes, signs and sends it", DRIVES, "./create-job HD002.yml"),
    Step(
        "5: write SIGNATURE to the root",
        DRIVES,
        "sudo cp SIGNATURE /mnt/HD002/ && sync",
        thoughts=2,
    ),
    Step("unmount it", DRIVES, "sudo umount /mnt/HD002"),
    Step("6: JobId and address into a document", DRIVES, keys=8, points=5, hands=2, thoughts=2),
    Step("print the document", DRIVES, keys=2, points=2, hands=1),
)


def table(steps: Sequence[Step]) -> Iterator[str]:
    """Yield the lines of a table, and its sum for one drive."""
    yield "| what | how often | seconds in all |"
    yield "|---|---|---|"
    for step in steps:
        typed = f"`{step.typed}`" if step.typed else ""
        yield f"| {step.what} {typed} | {step.times} | {step.seconds():.0f} |".replace("  ", " ")
    total = sum(step.seconds() for step in steps)
    yield f"| **for each of the {DRIVES} drives** | | **{total / DRIVES:.1f}** |"


def tables() -> str:
    """Return both tables as they are in the documentation."""
    parts = ["With driveprep:", "", *table(WITH), "", "The guide's six steps by hand:", ""]
    return "\n".join([*parts, *table(BY_HAND)])


if __name__ == "__main__":
    print(tables())
