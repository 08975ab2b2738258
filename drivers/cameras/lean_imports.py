"""Import before anything that imports zeep or aiohttp: leaves out what the worker never uses.

It would pay for all of this with memory and a slower start. Each of these libraries does without.
"""

import os
import sys
import warnings

_LEFT_OUT = (
    "httpx._main",  # httpx's command line, which brings rich and click along
    "charset_normalizer",  # guesses encodings for requests, of which zeep uses only types
)

for _name in _LEFT_OUT:
    sys.modules.setdefault(_name, None)  # type: ignore[arg-type]  # None: not to be had

# aiohttp reads all public authorities when it is imported; cameras are asked by plain HTTP only.
os.environ["SSL_CERT_FILE"] = os.devnull

with warnings.catch_warnings():
    # It warns where it can guess no encodings.
    warnings.simplefilter("ignore")
    import requests  # noqa: F401 — once, so that it warns here
