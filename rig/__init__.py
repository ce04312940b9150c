"""The rig: real Kubernetes control planes on this machine, without Docker, kubelets or virtual machines, in seconds.

A test tool beside the product. `python -m rig up` runs clusters until Ctrl-C; `rig.harness.running` does the same for a test.
"""
