"""What a mesh of real nodes costs, and how fast it is: ``python -m benchmarks mesh``. One module per measurement."""
