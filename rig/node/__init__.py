"""A node without a kubelet: runs the pods that are bound to it as processes in network namespaces."""
