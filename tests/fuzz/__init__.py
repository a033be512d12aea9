"""Hostile calls of every public function, in processes of their own: ``python -m tests.fuzz --calls 20000 --seed 0``.

A call is text: the function and an expression for every argument (`words` and `uses` are the `vocabulary`), so that what fails is printed
as the line that reproduces it. `legal` draws calls that are right, `hostile` spoils an argument or two, `worker` makes the call and looks
at what came of it (`judge`), `twins` asks PyTorch, `crew` notices a worker's death or silence, and `surface` lists what has to be called.
"""
