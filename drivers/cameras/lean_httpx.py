"""Import before anything that imports zeep: leaves out httpx's command line.

That brings rich and click along, which the worker would pay for with memory and a slower start;
httpx does without where they are not installed.
"""

import sys

sys.modules.setdefault("httpx._main", None)  # type: ignore[arg-type]  # None: not to be had
