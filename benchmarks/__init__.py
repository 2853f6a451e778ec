"""What golemp2p claims about speed, measured: ``python -m benchmarks``. Results are in README.md beside this file."""
