"""One sentence per setting, shared by ``golemp2p node config``, ``docs/settings.md`` and error texts."""

from __future__ import annotations

DOCS: dict[str, str] = {
    "data_dir": "Where everything durable lives: journals, components, the node's key. One node at a time may use it.",
    "memory_budget_bytes": (
        "Memory all workers together may use before idle ones are unloaded; bytes, or a share of this machine's "
        "memory such as 50%."
    ),
    "http": "Where HTTP is served (REST, WebSocket, metrics). Port 0 takes a free one.",
    "mesh": (
        "Where this node listens for other nodes. Port 0 takes a free one; off: nowhere, then it can call others, and nobody "
        "can call it. Without the mesh key nothing is to be learnt there."
    ),
    "mesh_advertise": (
        "Where other nodes dial this one, best first, if that is not where it listens (behind port mappings, or listening on all "
        "addresses): HOST:PORT, or HOST alone for the port of mesh. Default: mesh."
    ),
    "join": (
        "An invite, as `golemp2p mesh invite` prints it; @FILE reads it from there. Only a node without data can join a mesh; one "
        "that has joined goes on, with the invite or without. It holds the mesh key and is never shown."
    ),
    "domain": (
        "What fails together with this node, such as its rack or building: replicas of a shard are kept in different domains. "
        "Default: each node by itself."
    ),
    "weight": "How much this node takes of the work and data of the mesh, relative to others.",
    "mdns": (
        "Announce this node on the local network, and find nodes of the same mesh there (multicast DNS). Tells everybody near "
        "that a node is here, and no secrets; needs the mdns extra."
    ),
    "insecure_listen": ("Allow http on an address other machines can reach, though anyone who reaches it may do anything."),
    "http_hosts": (
        "Names, beside localhost and numeric addresses, by which callers may address this node; others are answered with "
        "421, so that no web page reaches it by a name of its own."
    ),
    "shards_count": "Slices of the key space, a power of two. Fixed when the mesh is founded; a node that joins takes the mesh's.",
    "drain_timeout_s": "How long requests and invocations under way may take to finish when the node is told to stop.",
    "log.level": "debug, info, warning or error.",
    "log.format": "text for people, json for programs (one object per line, on stderr).",
    "requests.payload_bytes_max": "Largest body of any request but a component upload.",
    "requests.component_bytes_max": "Largest component that may be uploaded.",
    "requests.connections_max": "HTTP connections served at once; further ones wait to be accepted.",
    "requests.header_timeout_s": "Time from the first byte of a request to the end of its headers.",
    "requests.read_timeout_s": "Time between two pieces of a request body.",
    "requests.keep_alive_timeout_s": "How long an idle connection is kept open.",
    "workers.active_max": (
        "Workers in memory at once; beyond it idle ones are unloaded, and new work is refused if none is idle. "
        "The kernel may allow fewer: a seventh of vm.max_map_count, 9004 by its default."
    ),
    "workers.queue_length_max": "Invocations that may wait for one worker; further ones are refused as overloaded.",
    "workers.idle_ttl_s": "An idle worker is unloaded after this long; its next use brings it back by replay.",
    "workers.suspend_after_s": "A wait known to last this long unloads the worker until it is over.",
    "workers.suspend_after_pressed_s": "The same, while memory is short.",
    "workers.resume_concurrency": "Workers brought back at the same time after a restart or by timers that are due.",
    "limits.memory_bytes_max": "Linear memory of one worker.",
    "limits.table_elements_max": "Table elements of one worker.",
    "limits.instances_max": "Core instances inside one worker's component instance.",
    "limits.wall_time_s": "How long a worker may compute between two host calls.",
    "limits.resources_max": "Host resources (files, streams, pollables, ...) one worker may hold at once.",
    "limits.files_bytes_max": "Bytes in one worker's file system.",
    "retry.attempts_max": "How often a failed invocation is tried again before the worker counts as failed.",
    "retry.delay_min_s": "Wait before the first retry.",
    "retry.delay_max_s": "Longest wait between two retries.",
    "retry.multiplier": "Each wait is this many times the one before.",
    "retry.jitter": "Random share added to each wait, 0 to 1.",
}
