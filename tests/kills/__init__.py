"""Trainings killed by ``kill -9`` at random moments, most of them while a file is being written, and resumed."""
