"""Adapters of ``ports.Storage``, and the data directory they live in.

    sqlite.py      SqliteStorage: the durable adapter
      writer.py    one thread, one connection, group commit
      readers.py   read-only connections and queries
      database.py  schema, pragmas, SQLite's errors in our words
      blobs.py     content-addressed files
    memory.py      MemoryStorage: the same contract, for tests and simulation
    limits.py      what both refuse
    datadir.py     the files of one node, its lock and its key
    backup.py      a copy of a running node's data
    verify.py      what is damaged in a data directory

What was measured, and why SQLite: one writer thread that commits all that was queued while the last commit ran, one
row per segment. SQLite's WAL drops a torn tail cleanly, but its pages carry no checksums: a flipped bit is returned as
if it were data. So readers verify hash chain and signatures, and ``verify.py`` reads everything.
"""
