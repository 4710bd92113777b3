"""Pure functions on arrays: no file, clock, log, torch or dask."""
