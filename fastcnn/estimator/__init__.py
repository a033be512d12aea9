"""`CNNClassifier`: training as an estimator of scikit-learn, for pipelines, searches and ensembles."""

from .. import extras

sklearn = extras.require("sklearn", "scikit-learn", "sklearn", __name__)

from .classifier import CNNClassifier  # noqa: E402 - behind `require`, which says what to install

__all__ = ["CNNClassifier"]
