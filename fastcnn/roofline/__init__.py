"""The roofline of this machine: how fast its cores compute and its memories deliver, and what an operation makes of both.

Computation that does F operations on B bytes takes at least max(F / peak, B / bandwidth) seconds: at the intensity I = F / B its rate is
at most min(peak, I bandwidth). Drawn over I in log-log axes that is a roof, one for each level of memory; where a kernel's point lies under
it tells what bounds the kernel, and how much is left.

References
----------
S. Williams, A. Waterman, D. Patterson. Roofline: an insightful visual performance model for multicore architectures. CACM 52(4), 2009,
section 3.
"""

from .ceilings import Ceilings, Level, Roofline
from .keep import roofline

__all__ = ["Ceilings", "Level", "Roofline", "roofline"]
