"""The command lines speak the terminal's language; tests read English, wherever they run."""

import os

os.environ["LC_ALL"] = "C.UTF-8"
