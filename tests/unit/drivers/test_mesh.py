"""Several nodes of one mesh in one process: they share the work, and survive each other's deaths."""

from __future__ import annotations
