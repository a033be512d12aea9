"""Searches for settings: on joblib's workers and Dask's, cut short and gone on with."""
