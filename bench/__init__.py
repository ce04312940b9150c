"""Figures of the running product, each beside its floor or peer in the same run: `python -m bench [NAME …] [--quick]`."""
