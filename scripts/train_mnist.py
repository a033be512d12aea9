"""Train a small CNN on the full MNIST in seconds, on a CPU: python scripts/train_mnist.py --help."""

import sys

from fastcnn.train.command import main

if __name__ == "__main__":
    sys.exit(main(program=("python", sys.argv[0])))
