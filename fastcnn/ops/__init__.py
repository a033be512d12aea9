"""One folder per operation, one file per variant; see `fastcnn.registry`."""
