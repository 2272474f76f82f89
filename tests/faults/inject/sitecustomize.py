"""Python imports this by itself in every process whose PYTHONPATH names its folder; the product never does."""

import os

if os.environ.get("STELLWERK_FAULTS"):
    import faultpoints

    faultpoints.install()
