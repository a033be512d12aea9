"""Reports of ``pytest bench``: one run as tables, and two runs with a verdict per row that a noisy machine does not sway.

A row's samples come in blocks of a few rounds, in which its group's competitors and fixed loops of the benchmark take turns; each block is
taken in a process of its own. What a process decides once - where its machine code and its memory lie, say - looks to all of its blocks
like a property of the code; between processes it is noise like any other. A verdict on a row stands on these steps:

1. A block counts by its best sample: a core or cache that is taken away adds time and never saves any.
2. All pairs of blocks, one of either run, are looked at. The machine's speed is divided out of a pair by three fixed loops in its blocks: a
   chain of dependent multiply-adds, which follows the clock; independent ones, which suffer most from a neighbour on the core, and of which
   so much counts as the row's own blocks show that it suffers, too; and a copy, as far as the row moves data through memory, by its median
   over the run. A sixteenth of what is divided out is in doubt, and what the blocks leave open of the second share; a pair must be that
   much clearer.
3. Of a row that seems to have changed by more than the threshold, Mann's and Whitney's test asks: are there more pairs in which the later
   run is slower by more than half the threshold than chance allows? It has no model of the noise; it assumes that an unchanged row's blocks
   could as well have come from the other run, but for a change within half the threshold.
4. Many rows are many chances of a false alarm: Holm's correction keeps the probability of any among the library's own rows, where nothing
   has changed, below 5 %; baselines and the reference are a family of their own.

A row is *worse* or *better* when that test says so, *same* when the 95 % interval of its change lies within the threshold, and else
*unclear*.

Several runs may be given for either version, and then all pairs must agree.

References
----------
H. Mann & D. Whitney, "On a Test of Whether one of Two Random Variables is Stochastically Larger than the Other", Ann. Math. Stat. 18
(1947), section 3.
J. Hodges & E. Lehmann, "Estimates of Location Based on Rank Tests", Ann. Math. Stat. 34 (1963).
S. Holm, "A Simple Sequentially Rejective Multiple Test Procedure", Scand. J. Stat. 6 (1979), section 3.
"""
