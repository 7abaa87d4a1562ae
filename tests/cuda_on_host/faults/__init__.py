"""Do the tests of the CUDA kernels notice damage? `python -m tests.cuda_on_host.faults` finds out."""
