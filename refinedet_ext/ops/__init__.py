"""The public functions, one op a file; import them from `refinedet_ext`."""
