"""How hard hypothesis tries: the same examples on every run in CI, new ones on a developer's machine."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

# An application lives as long as the module, and that is meant: no state is kept between calls.
COMMON = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])

settings.register_profile("ci", COMMON, max_examples=80, derandomize=True, database=None)
settings.register_profile("dev", COMMON, max_examples=80)
settings.register_profile("long", COMMON, max_examples=3_000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE") or ("ci" if os.environ.get("CI") else "dev"))
