"""What people see of a mesh, and the orders that they give it (``client.MeshAdmin``)."""
