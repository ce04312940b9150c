"""The nouns of the world: Kubernetes and Gateway API objects as frozen values, and the fleet that holds them."""
