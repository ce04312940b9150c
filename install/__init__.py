"""What a cluster is given to run Flota: resource definitions made from the code, a Helm chart, and plain manifests rendered from it."""
