"""Pictures of a training run; matplotlib is imported only here."""
