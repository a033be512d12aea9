"""fastcnn's conv2d beside PyTorch, ONNX Runtime, OpenVINO and JAX, on the convolutions of `bench/suites.py`.

From the root of the repository, with whatever peers are installed (``pip install "fastcnn[peers]"``; a missing one is left out)::

    python -m bench.peers --suite resnet50,vgg16 --threads 1,2 --json peers.json    # all suites by default
    python -m bench.peers --cases mnist-n64 --directions forward --peers torch --summary
    python -m bench.peers --resume peers.json       # what a run that was cut short has not measured; begins where there is no file
    python -m bench.peers.table peers.json --write README.md

Every library runs in a process of its own (`fastcnn/peers/worker.py`), with no more cores than the threads it is given: idle OpenMP
workers of one would spin on the cores of the next, and Numba resets PyTorch's thread count. The parent (`fastcnn/peers/team.py`, `row.py`)
lets them check their results against float64 (`oracle.py`), then asks each in turn for a sample while the others wait on their pipes, so
that a slow spell of the machine hits all alike. What a library is asked to do stands in `fastcnn/peers/with_torch.py` and its like.
"""
