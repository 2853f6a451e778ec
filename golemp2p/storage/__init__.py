"""Adapters of ``ports.Storage``, and the data directory they live in.

    sqlite.py             SqliteStorage: the durable adapter
      writer.py           one thread
        gathering.py      batches on their way to it
        committer.py      one connection, group commit
        replica_rows.py   what a replica's write does to the rows
        rows.py           rows of many batches in few statements; what the writer knows without asking
      readers.py          read-only connections and queries
        replica_reading.py   replicas for the start, segments for other nodes
      database.py         schema, pragmas, SQLite's errors in our words
      blobs.py            content-addressed files
    memory.py             MemoryStorage: the same contract, for tests and simulation
      memory_replica.py   what a replica's write means, in plain lists
    ends.py               where a log ends, and what is said of it
    limits.py             what both refuse
    datadir.py            the files of one node, its lock and its key
    backup.py             a copy of a running node's data
    inspect.py            what a data directory holds, in numbers
    verify.py             what is damaged in it          verify_shard.py, verify_log.py: in one shard, in one log

What was measured, and why SQLite: one writer thread that commits all that was queued while the last commit ran, one
row per segment. SQLite's WAL drops a torn tail cleanly, but its pages carry no checksums: a flipped bit is returned as
if it were data. So readers verify hash chain and signatures, and ``verify.py`` reads everything.
"""
