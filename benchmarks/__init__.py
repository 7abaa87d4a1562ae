"""Times the ops and detectors beside their peers and floors: `python -m benchmarks`, on a GPU `benchmarks.gpu`."""
