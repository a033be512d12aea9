"""The search of sklearn_grid_search.py on the workers of a Dask cluster: of this machine, or of the scheduler that --scheduler names."""

import argparse
import contextlib

import joblib
from distributed import Client, LocalCluster
from sklearn.datasets import load_digits
from sklearn.model_selection import GridSearchCV, train_test_split

from fastcnn.estimator import CNNClassifier


def main() -> None:
    """Search, and print every candidate and the test accuracy of the best."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", nargs="+", default=["digit-net", "digit-net-norm", "lenet5"], help="names in fastcnn.models.MODELS")
    parser.add_argument("--rates", nargs="+", type=float, default=[0.001, 0.003, 0.01], help="highest learning rates")
    parser.add_argument("--epochs", type=int, default=15)
    parser.add_argument("--workers", type=int, default=joblib.cpu_count(), help="processes of a cluster of this machine")
    parser.add_argument("--scheduler", help="address of a cluster that runs already, such as tcp://10.0.0.1:8786")
    options = parser.parse_args()

    X, y = load_digits(return_X_y=True)
    X_train, X_test, y_train, y_test = train_test_split(X, y, test_size=0.2, stratify=y, random_state=0)
    candidates = {"model": options.models, "learning_rate_init": options.rates}
    # One thread for each, as Dask's workers do not know how many of them share the cores; and so the scores are those of any other place.
    search = GridSearchCV(CNNClassifier(max_iter=options.epochs, random_state=0, threads=1), candidates, cv=3)
    with contextlib.ExitStack() as stack:
        cluster = options.scheduler
        if not cluster:  # of which nobody on the network can ask anything, not even by the dashboard
            local = {"threads_per_worker": 1, "host": "127.0.0.1", "dashboard_address": "127.0.0.1:0"}
            cluster = stack.enter_context(LocalCluster(n_workers=options.workers, **local))
        client = stack.enter_context(Client(cluster))
        with joblib.parallel_config("dask"):
            search.fit(X_train, y_train)
        print(f"workers: {len(client.nthreads())}")
    for settings, accuracy in zip(search.cv_results_["params"], search.cv_results_["mean_test_score"], strict=True):
        print(f"{accuracy:.4f}  {settings}")
    print(f"best: {search.best_params_}, test accuracy {search.score(X_test, y_test):.4f}")


if __name__ == "__main__":
    main()
