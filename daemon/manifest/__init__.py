"""What a manifest must contain, and the text that is sent to the service."""

from daemon.manifest.complaints import locate
from daemon.manifest.rules import Manifest, is_same, read, to_send

__all__ = ["Manifest", "is_same", "locate", "read", "to_send"]
