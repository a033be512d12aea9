"""`CNNClassifier`: `fastcnn.train.fit` as an estimator of scikit-learn, for pipelines, searches and ensembles."""

from __future__ import annotations

import copy
import dataclasses
import pickle
from typing import Any, TypeVar

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils import check_random_state, validation
from sklearn.utils.class_weight import compute_class_weight
from sklearn.utils.multiclass import check_classification_targets

from .. import machine, train, window
from ..data.augment import Augment
from ..losses import SoftmaxCrossEntropy
from ..optim import Adam
from . import course
from .inputs import Scaling, Shape, flattened, is_table, require_shape, shape_of, validated
from .labels import positions, weighted
from .network import build
from .settings import Settings, checked, checked_threads

Self = TypeVar("Self", bound="CNNClassifier")


class CNNClassifier(ClassifierMixin, BaseEstimator):
    """A convolutional network that classifies images, or a multi-layer perceptron that classifies rows of a table.

    Samples come as images (N, C, H, W) or (N, H, W), or as rows (N, features): then a square number of features from 8 x 8 on is taken for
    a grey image, any other for a table. Pixels are scaled by the mean and deviation of all training pixels, a table's features each by
    its own. Training takes Adam, up to `learning_rate_init` and down again (one cycle); with `early_stopping`, and in `partial_fit`, where
    nobody knows how long it will be, the rate is constant.

    Parameters
    ----------
    model : "auto", a name in `fastcnn.models.MODELS`, or callable (shape, classes, rng) -> Layer
        Named models get new ends where channels, size or classes ask for it. "auto" is "digit-net", and for tables and images below
        4 x 4 two hidden layers of 128. A callable gets (C, H, W), a number and a Generator, and returns a network that gives logits.
    image_shape : (C, H, W), optional
        What rows of features are, channels slowest; (1, 1, features) is a table.
    max_iter : float or "auto"
        Epochs; "auto" makes it about 800 steps, in 3 to 200 epochs.
    batch_size : int or "auto"
        "auto" is 32, from 5,000 samples on 128.
    learning_rate_init : float
        The highest rate.
    weight_decay : float
        L2 penalty, as of `fastcnn.optim.Adam`: `alpha` of scikit-learn's MLPClassifier.
    label_smoothing : float in [0, 1)
        Share of every target that is spread over all classes: over-fits less, and is less sure of itself.
    augment : fastcnn.data.augment.Augment, optional
        Changes training images at random; its `fill` is in the units of X.
    class_weight : dict of label to float, or "balanced", optional
        What mistakes in a class cost, relative to one another. "balanced" is N / (classes * count of the class).
    early_stopping : bool
        Hold out `validation_fraction` of the samples, stop after `n_iter_no_change` epochs that improve accuracy on them by no more than
        `tol`, and keep the best epoch's weights.
    validation_fraction : float between 0 and 1
    n_iter_no_change : int
    tol : float
    precision : "highest", "high" or "medium"
        As of `fastcnn.conv2d`.
    random_state : int, RandomState or None
        Of initial weights, order, augmentation and validation split. The same int gives the same bits on the same machine with as many
        threads.
    threads : int, optional
        Threads at most; by default what `fastcnn.get_threads` says. (Workers of joblib have their share of the cores already, unless
        NUMBA_NUM_THREADS is set.)
    verbose : bool
        Show progress.
    warm_start : bool
        `fit` goes on from the weights, and the scaling, of the `fit` before, where there was one.

    Attributes
    ----------
    model_ : Layer
        The trained network.
    classes_ : (classes,) ndarray
        Labels in order: column k of `predict_proba` is of ``classes_[k]``.
    history_ : fastcnn.train.History
        Loss of every step; loss, accuracy, seconds, and validation of every epoch; of all calls of `partial_fit`.
    image_shape_ : (C, H, W)
    n_features_in_ : int
        C H W.
    feature_names_in_ : (features,) ndarray of str
        Where `fit` saw names.
    n_iter_ : int
        Epochs in `history_`.

    Raises
    ------
    TypeError, ValueError
        From `fit`, not from the constructor: a parameter is none of these, or X or y cannot be learnt from.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from fastcnn.estimator import CNNClassifier
    >>> X, y = load_digits(return_X_y=True)
    >>> digits = CNNClassifier(max_iter=5, random_state=0).fit(X[:1000], y[:1000])
    >>> digits.image_shape_, digits.n_iter_
    ((1, 8, 8), 5)
    >>> digits.score(X[1000:], y[1000:]) > 0.9
    True
    """

    def __init__(
        self,
        model: Any = "auto",
        *,
        image_shape: tuple[int, int, int] | None = None,
        max_iter: float | str = "auto",
        batch_size: int | str = "auto",
        learning_rate_init: float = 0.003,
        weight_decay: float = 1e-4,
        label_smoothing: float = 0.05,
        augment: Augment | None = None,
        class_weight: dict[Any, float] | str | None = None,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        n_iter_no_change: int = 10,
        tol: float = 1e-4,
        precision: str = "high",
        random_state: Any = None,
        threads: int | None = None,
        verbose: bool = False,
        warm_start: bool = False,
    ) -> None:
        self.model = model
        self.image_shape = image_shape
        self.max_iter = max_iter
        self.batch_size = batch_size
        self.learning_rate_init = learning_rate_init
        self.weight_decay = weight_decay
        self.label_smoothing = label_smoothing
        self.augment = augment
        self.class_weight = class_weight
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.tol = tol
        self.precision = precision
        self.random_state = random_state
        self.threads = threads
        self.verbose = verbose
        self.warm_start = warm_start

    def fit(self: Self, X: Any, y: Any) -> Self:
        """Train; return self.

        Parameters
        ----------
        X : (N, features), (N, H, W) or (N, C, H, W) of real numbers
        y : (N,) labels of any kind, of at least two classes
        """
        settings = checked(self)
        goes_on = settings.warm_start and hasattr(self, "model_")
        rows, y, arrived = self._checked(X, y, reset=not goes_on)
        classes = self.classes_ if goes_on else np.unique(y)
        labels, loss = positions(y, classes), self._loss(settings, classes, y)
        if not goes_on:
            self._begin(classes, rows, arrived)
        self._optimizer = None
        self.history_ = self._train(settings, rows, labels, loss, course.of_fit(self.model_, settings, len(rows)))
        self.n_iter_ = len(self.history_.epochs)
        return self

    def partial_fit(self: Self, X: Any, y: Any, classes: Any = None) -> Self:
        """Train one epoch on some of the data, and go on from there in the next call; return self.

        The scaling of X is that of the first call's. Adam remembers what it knows from call to call.

        Parameters
        ----------
        X, y
            As of `fit`; not every class needs to be there.
        classes : (classes,) labels
            All that there will ever be. Needed in the first call only.
        """
        settings = checked(self)
        if settings.early_stopping:
            raise ValueError("CNNClassifier.partial_fit: early_stopping must be False, as the epochs are the caller's")
        if isinstance(self.class_weight, str):
            raise ValueError(
                f"CNNClassifier.partial_fit: class_weight must be a dict, as not all data is known; got {window.shown(self.class_weight)}"
            )
        first = not hasattr(self, "model_")
        if first and classes is None:
            raise ValueError("CNNClassifier.partial_fit: classes must be given in the first call")
        if not first and classes is not None and not np.array_equal(np.unique(classes), self.classes_):
            raise ValueError(f"CNNClassifier.partial_fit: classes must be those of the first call, {self.classes_}; got {classes}")
        rows, y, arrived = self._checked(X, y, reset=first)
        classes = np.unique(classes) if first else self.classes_
        labels, loss = positions(y, classes), self._loss(settings, classes, y)
        if first:
            self._begin(classes, rows, arrived)
        one_epoch = course.of_partial_fit(self.model_, settings, self._optimizer)
        self._optimizer = one_epoch.optimizer
        history = self._train(settings, rows, labels, loss, one_epoch)
        self.history_ = history if first else course.joined(self.history_, history)
        self.n_iter_ = len(self.history_.epochs)
        return self

    def predict_proba(self, X: Any) -> np.ndarray:
        """Return the probability of every class, (N, classes) float32, columns in the order of `classes_`; X as of `fit`."""
        validation.check_is_fitted(self, "model_")
        rows, arrived = flattened(X)
        rows = validated(self, rows, reset=False)
        require_shape(arrived, self.image_shape_)
        with machine.threads(checked_threads(self.threads)):
            logits = train.predict(self.model_, self._scaling.inputs(rows, self.image_shape_), precision=self.precision)
        if not np.isfinite(logits).all():
            raise ValueError(
                "CNNClassifier: outputs for X are not finite; a lower learning_rate_init in fit, or smaller numbers in X, may help"
            )
        logits = logits.astype(np.float64)  # of which differences may be beyond float32
        exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
        return (exponentials / exponentials.sum(axis=1, keepdims=True)).astype(np.float32)

    def predict(self, X: Any) -> np.ndarray:
        """Return the most probable label of every sample, (N,); X as of `fit`."""
        probabilities = self.predict_proba(X)
        return self.classes_[probabilities.argmax(axis=1)]

    # --- Parts ---

    _optimizer: Adam | None  # of partial_fit, from call to call

    def _checked(self, X: Any, y: Any, reset: bool) -> tuple[np.ndarray, np.ndarray, Shape | None]:
        """Return rows (N, features), labels (N,) as the user has them, and the shape of images; with `reset`, learn names and numbers."""
        rows, arrived = flattened(X)
        rows, y = validated(self, rows, y, reset=reset)
        check_classification_targets(y)
        if not reset:
            require_shape(arrived, self.image_shape_)
        return rows, y, arrived

    def _begin(self, classes: np.ndarray, rows: np.ndarray, arrived: Shape | None) -> None:
        """Forget what was learnt, and make a new network."""
        if len(classes) < 2:
            raise ValueError(f"CNNClassifier: y must have at least 2 classes; got 1 class: {window.shown(classes[0])}")
        shape = shape_of(rows.shape[1], arrived, self.image_shape)
        if self.augment is not None and is_table(shape):
            raise ValueError(f"CNNClassifier: augment must be None for a table; got {self.augment} and samples of shape {shape}")
        weights, order = (np.random.default_rng(seed) for seed in check_random_state(self.random_state).randint(2**31 - 1, size=2))
        scaling = Scaling.of(rows, shape)
        self.model_ = build(self.model, shape, len(classes), weights)
        self.classes_, self.image_shape_ = classes, shape
        self._scaling, self._order, self._optimizer = scaling, order, None

    def _loss(self, settings: Settings, classes: np.ndarray, y: np.ndarray) -> SoftmaxCrossEntropy:
        if self.class_weight is None:
            return SoftmaxCrossEntropy(settings.label_smoothing)
        return weighted(compute_class_weight(self.class_weight, classes=classes, y=y), settings.label_smoothing)

    def _train(
        self, settings: Settings, rows: np.ndarray, labels: np.ndarray, loss: SoftmaxCrossEntropy, way: course.Course
    ) -> train.History:
        augment, stopping = settings.augment, None
        if augment is not None:  # which fills images that are scaled already
            fill = (augment.fill - self._scaling.mean[0]) / self._scaling.deviation[0]
            augment = dataclasses.replace(augment, fill=float(fill))
        if settings.early_stopping:
            stopping = train.EarlyStopping(settings.n_iter_no_change, "validation_accuracy", settings.tol)
        try:
            with machine.threads(settings.threads):
                return train.fit(
                    self.model_, self._scaling.inputs(rows, self.image_shape_), labels, **way._asdict(), loss=loss, augment=augment,
                    batch_size=settings.batch(len(rows)), precision=settings.precision, early_stopping=stopping,
                    validation=settings.validation_fraction if stopping else None, progress=settings.verbose,
                    seed=int(self._order.integers(2**31)),
                )  # fmt: skip
        except FloatingPointError as error:  # scikit-learn's own networks raise ValueError, too
            raise ValueError(f"CNNClassifier: {error} (learning_rate_init={window.shown(self.learning_rate_init)})") from error

    def __getstate__(self) -> dict[str, Any]:
        """Return the state with network and optimiser as bytes, for `copy`, `pickle` and joblib.

        The parameters of a network, of its layers and of its optimiser are the same arrays, and must be so afterwards; joblib pickles
        arrays one by one, and may hand them out read-only.
        """
        state = dict(super().__getstate__())
        if "model_" in state:
            network = copy.copy(state.pop("model_"))
            network.grads, network._saved = {}, None  # what the last step left, larger than all parameters
            state["_packed"] = pickle.dumps((network, state.pop("_optimizer")), protocol=5)
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        state = dict(state)
        if "_packed" in state:
            state["model_"], state["_optimizer"] = pickle.loads(state.pop("_packed"))
        super().__setstate__(state)
