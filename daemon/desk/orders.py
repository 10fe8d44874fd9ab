"""What a person tells the daemon to record. The daemon alone writes the journal."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from daemon import spool
from daemon.config.loading import Config
from daemon.desk import elsewhere
from daemon.desk.elsewhere import ANSWER_SECONDS
from daemon.errors import DriveprepError
from daemon.jobs import reader
from daemon.system.printable import printable

Answer = dict[str, Any]


def ship(
    config: Config, words: Sequence[str], at: float, carrier: str = "", tracking: str = ""
) -> Answer | None:
    """Have it recorded that the drives of these jobs have left, `at` seconds since the epoch.

    Like each order: safe to repeat. Returns None if no daemon runs: the next one carries it out.
    Raises DriveprepError if the daemon refuses; then nothing is recorded.
    """
    shipment = {"at": at, "carrier": carrier, "tracking": tracking}
    return _give(config, {"order": "ship", "words": list(words)} | shipment)


def undo_shipment(config: Config, words: Sequence[str]) -> Answer | None:
    """Have it recorded that the drives of these jobs are still here."""
    return _give(config, {"order": "not shipped", "words": list(words)})


def dismiss(config: Config, words: Sequence[str]) -> Answer | None:
    """Dismiss the rejections of manifests or deviceIds; the answer counts them for each word."""
    return _give(config, {"order": "dismiss", "words": list(words)})


def dismiss_all(config: Config) -> Answer | None:
    """Dismiss every rejection."""
    return _give(config, {"order": "dismiss all"})


def retry_as_it_is(config: Config, device_id: str) -> Answer | None:
    """Have it recorded that the drive of the job that waits for it need not be empty, then retry.

    Raises DriveprepError also if no job waits for that deviceId.
    """
    answer = _give(config, {"order": "as it is", "deviceId": device_id})
    if answer is not None and not answer["jobs"]:
        elsewhere.refuse(config, device_id)
        hint = "`driveprep status` shows the jobs."
        raise DriveprepError(f"no job waits for the drive {printable(device_id)}", hint)
    retry(config, device_id)
    return answer


def retry(config: Config, device_id: str, *, same_drive: bool = False) -> None:
    """Have a deviceId tried again at once. Raises DriveprepError.

    With `same_drive` a person confirms that its drive only has another USB bridge.
    """
    job = reader.find(config.spool, device_id)
    if elsewhere.may_be(job, device_id):
        elsewhere.refuse(config, device_id, is_known=job is not None)
    try:
        spool.ask_to_retry(config.spool / "pending", device_id, same_drive=same_drive)
    except FileNotFoundError as error:
        hint = "The daemon creates it when it starts: systemctl start driveprep"
        raise DriveprepError(f"there is no folder {config.spool / 'pending'}", hint) from error


def print_papers(config: Config, words: Sequence[str], at: float) -> Answer | None:
    """Have the papers of these jobs printed once more, asked for at `at`, seconds since the epoch.

    Raises DriveprepError also if nothing is configured to be printed.
    """
    if not config.print:
        hint = "Name commands under `print` in the configuration, or use `driveprep slip --pdf`."
        raise DriveprepError("nothing is configured to be printed", hint)
    order = {"order": "print", "words": list(words), "papers": [*config.print], "at": at}
    return _give(config, order)


def _give(config: Config, order: Answer) -> Answer | None:
    question = json.dumps(order).encode()
    try:
        if reader.daemon_info(config.spool) is None:
            spool.leave(config.spool, question)
            return None
        data = spool.ask(config.spool, question, ANSWER_SECONDS, is_durable=True)
    except FileNotFoundError as error:
        hint = "The daemon creates it when it starts: systemctl start driveprep"
        raise DriveprepError(f"there is no folder {config.spool / 'pending'}", hint) from error
    answer: Answer = json.loads(data)
    if unknown := answer.get("unknown"):
        elsewhere.refuse(config, unknown)
    if "problem" in answer:
        raise DriveprepError(answer["problem"], answer["hint"])
    if "error" in answer:  # a daemon of an earlier version
        raise DriveprepError(answer["error"]["message"], answer["error"]["hint"])
    return answer
