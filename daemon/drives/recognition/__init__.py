"""Which drive a deviceId means, why none does, and what nearly does."""

from daemon.drives.recognition.rules import Recognition

__all__ = ["Recognition"]
