"""Kinds of store of other libraries: chunks of zarr and HDF5, annotated matrices, Arrow."""
