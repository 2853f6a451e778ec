"""The whole history of a worker: given away by any node, checked by anybody, and run again."""
