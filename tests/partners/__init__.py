"""Tests in the words of partners: their samples, their checkers. Each names what to install where a partner is missing."""
