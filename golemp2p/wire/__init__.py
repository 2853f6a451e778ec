"""Bytes that others must understand, now and later: on disk, between nodes, as evidence.

    entry         oplog entries <-> CBOR                segment       signed batches of entries, and chains of them
    identity      Ed25519 keys                          certificate   a mesh's birth, and who was elected in a shard

Decoders take hostile bytes: they raise ``DataDamaged`` and nothing else.
"""
