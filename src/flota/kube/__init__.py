"""Talking to a Kubernetes API server: access, requests, discovery, reflectors, leases. Has never heard of fleets."""
