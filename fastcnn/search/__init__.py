"""Searches for the best settings, on joblib's workers or a Dask cluster: `fastcnn search`, and `search` with an objective of one's own.

(`GridSearchCV(CNNClassifier(), ...)` of scikit-learn does without this room; what it adds is for searches that take hours: trials are on
disk one by one, outlive a worker that is killed, and a search that was cut short goes on.)
"""

from .. import extras

joblib = extras.require("joblib", "joblib", "search", __name__)
sklearn = extras.require("sklearn", "scikit-learn", "search", __name__)

from .journal import JournalError  # noqa: E402 - behind `require`, which says what to install
from .recipe_trial import RecipeTrial  # noqa: E402
from .searching import search  # noqa: E402
from .space import Range, grid, sample  # noqa: E402
from .trial import Trial, best  # noqa: E402

__all__ = ["JournalError", "Range", "RecipeTrial", "Trial", "best", "grid", "sample", "search"]
