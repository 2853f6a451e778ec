"""Numbers of the calls between nodes (``ports.Mesh.request`` and ``fetch``). None is ever used again for another call."""

from __future__ import annotations

EVENTS = 1
LISTING = 2
BLOB = 3
BLOB_OFFER = 4
COMPONENTS = 5
STATUS = 6
HISTORY = 7
