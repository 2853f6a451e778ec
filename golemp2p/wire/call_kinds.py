"""What one node may ask of another beside the messages of the cores: the kind of a call (``ports.Mesh.request``, ``fetch``).

Numbers are part of the protocol and never used again for something else.
"""

from __future__ import annotations

EVENTS = 1
LISTING = 2
BLOB = 3
BLOB_OFFER = 4
STATUS = 5
HISTORY = 6
BODY = 7
"""What a request or an answer was too large to carry (``drivers.routing.bodies``)."""
OVERRULED = 8
"""An order of the operator that a replica of an overruled history is to see (``drivers.administration.mesh_recovery``)."""
