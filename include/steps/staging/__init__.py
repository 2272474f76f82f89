"""The steps of ``staging-deploy``: a release is tried in staging, and what was seen becomes evidence."""
