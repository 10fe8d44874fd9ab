"""YAML texts with positions, typed fields, and the faults found in them."""

from daemon.documents.fields import Fields, Findings
from daemon.documents.nodes import Mapping, Node, Scalar, Sequence, walk
from daemon.documents.reader import read

__all__ = ["Fields", "Findings", "Mapping", "Node", "Scalar", "Sequence", "read", "walk"]
