"""A real fleet that is hurt on purpose: pods that fail in every way, an open-loop client, and what came of the requests.

Used by tests/faults and by the loss table (bench/loss.py). No root is needed: lost packets are dropped by a filter on the pods' sockets.
"""
