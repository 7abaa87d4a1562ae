"""For a machine with a GPU: `make gpu-check` checks and times everything, `python -m benchmarks.gpu` only times."""
