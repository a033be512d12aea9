"""Other libraries beside fastcnn's conv2d, each in a process of its own: for ``fastcnn compare --peers`` and `python -m bench.peers`.

A library's file, `with_torch.py` and its like, says what it is asked to do; `worker.py` is the process around it, which checks the results
before it times anything; `team.py` starts the processes and asks them.
"""
