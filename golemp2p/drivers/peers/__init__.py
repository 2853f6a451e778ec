"""This node among its peers: the core that decides driven over network, disk and clock, and who belongs to the mesh.

peer            core.peer driven; serves ports.Mesh           mesh_state   founding, joining, going on
replica_writes  writes of a shard, in order, until durable    authority    who may be a member
asks            requests to a shard's primary, both ends      removals     whom the operator removed
hand_overs      a node that stops steps aside first
"""
