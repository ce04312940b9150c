"""The official Gateway API suite against Flota on a fresh cluster of the rig, and what it is worth."""
