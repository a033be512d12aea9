"""The report of a training run: a folder of plain files, and one page made of them without any other library."""
