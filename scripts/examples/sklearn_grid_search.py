"""scikit-learn searches for the best network for its digits: three folds of every candidate, on all cores; half a minute on two."""

import argparse

from sklearn.datasets import load_digits
from sklearn.model_selection import GridSearchCV, train_test_split

from fastcnn.estimator import CNNClassifier


def main() -> None:
    """Search, and print every candidate and the test accuracy of the best."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", nargs="+", default=["digit-net", "digit-net-norm", "lenet5"], help="names in fastcnn.models.MODELS")
    parser.add_argument("--rates", nargs="+", type=float, default=[0.001, 0.003, 0.01], help="highest learning rates")
    parser.add_argument("--epochs", type=int, default=15)
    parser.add_argument("--jobs", type=int, default=-1, help="processes; -1: as many as cores")
    options = parser.parse_args()

    X, y = load_digits(return_X_y=True)  # rows of 64 features, which are images of 8 x 8
    X_train, X_test, y_train, y_test = train_test_split(X, y, test_size=0.2, stratify=y, random_state=0)
    candidates = {"model": options.models, "learning_rate_init": options.rates}
    search = GridSearchCV(CNNClassifier(max_iter=options.epochs, random_state=0), candidates, cv=3, n_jobs=options.jobs)
    search.fit(X_train, y_train)
    for settings, accuracy in zip(search.cv_results_["params"], search.cv_results_["mean_test_score"], strict=True):
        print(f"{accuracy:.4f}  {settings}")
    print(f"best: {search.best_params_}, test accuracy {search.score(X_test, y_test):.4f}")


if __name__ == "__main__":
    main()
