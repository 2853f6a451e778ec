"""Any node answers for the whole mesh: what is asked for is done here, or by whoever leads the shard that it belongs to.

mesh_client ──> primaries ──> ports.Mesh.ask ──> forwards of another node ──> its local client
                bodies  what is too large for a message      gathering  listings of all nodes      watching  events of a worker
"""
