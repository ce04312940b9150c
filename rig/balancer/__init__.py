"""Service addresses: ClusterIPs and load-balancer addresses that lead to pods, by nftables in the rig's own network namespace."""
