"""What one node may ask of another beside the messages of the cores: the kind of a call (``ports.Mesh.request``, ``fetch``).

Numbers are part of the protocol and never used again for something else.
"""

from __future__ import annotations

EVENTS = 1
LISTING = 2
BLOB = 3
BLOB_OFFER = 4
COMPONENTS = 5
STATUS = 6
HISTORY = 7
OVERRULED = 8
