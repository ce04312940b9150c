"""What was decided, written to the cluster: statuses, and the proxies of Gateways as objects. Only the leader writes."""
