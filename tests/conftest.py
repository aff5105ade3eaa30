"""How much the property tests try: bounded in every run, more with `HYPOTHESIS_PROFILE=thorough`."""

from __future__ import annotations

import os

from hypothesis import settings

# No deadline: the time of one example says more about the machine than about us.
settings.register_profile("ordinary", deadline=None, max_examples=100)
settings.register_profile("thorough", deadline=None, max_examples=5000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ordinary"))
