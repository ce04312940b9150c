"""ProxyTemplate: how the proxies of a Gateway run in a Kubernetes cluster (flota.dev/v1alpha1)."""

from typing import Annotated, Any, Literal

from msgspec import Meta, field

from flota.fleet.meta import ObjectMeta, Part

Object = dict[str, Any]
"""A piece of core/v1 that is handed on as it is; the API server judges it."""
Replicas = Annotated[int, Meta(ge=0, le=1000)]
Text = Annotated[str, Meta(min_length=1, max_length=512)]


class ServiceTemplate(Part, frozen=True):
    """The Service in front of the proxies."""

    type: Literal["LoadBalancer", "NodePort", "ClusterIP"] = "LoadBalancer"
    annotations: dict[str, str] = field(default_factory=dict)
    external_traffic_policy: Literal["Cluster", "Local"] | None = None
    load_balancer_class: Text | None = None


class Autoscaling(Part, frozen=True):
    """A HorizontalPodAutoscaler by CPU; it takes the place of `replicas`."""

    max_replicas: Annotated[int, Meta(ge=1, le=1000)]
    min_replicas: Annotated[int, Meta(ge=1, le=1000)] = 2
    target_cpu_percent: Annotated[int, Meta(ge=1, le=100)] = 70


class ProxyTemplateSpec(Part, frozen=True):
    """Whatever is left out is as Flota's own settings say."""

    replicas: Replicas | None = None
    image: Text | None = None
    image_pull_secrets: Annotated[tuple[Text, ...], Meta(max_length=16)] = ()
    resources: Object | None = None
    """core/v1 ResourceRequirements."""
    node_selector: dict[str, str] = field(default_factory=dict)
    tolerations: Annotated[tuple[Object, ...], Meta(max_length=64)] = ()
    affinity: Object | None = None
    priority_class_name: Text | None = None
    pod_annotations: dict[str, str] = field(default_factory=dict)
    service: ServiceTemplate = ServiceTemplate()
    autoscaling: Autoscaling | None = None


class ProxyTemplate(Part, frozen=True, omit_defaults=False):
    """Named by `spec.infrastructure.parametersRef` of a Gateway, or `spec.parametersRef` of its class."""

    metadata: ObjectMeta
    spec: ProxyTemplateSpec = ProxyTemplateSpec()
    api_version: str = "flota.dev/v1alpha1"
    kind: str = "ProxyTemplate"
