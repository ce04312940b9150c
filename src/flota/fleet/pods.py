"""Pod, Deployment and Job (core/v1, apps/v1, batch/v1). All official fields; the unused ones are opaque."""

from typing import Literal

from msgspec import field

from flota.fleet.meta import LabelSelector, ObjectMeta, Part, TemplateMeta
from flota.fleet.values import Int32, IntOrString, Natural, Opaque, PortNumber, Positive, Protocol


class HTTPHeader(Part, frozen=True):
    """A header of a probe."""

    name: str
    value: str = ""


class HTTPGetAction(Part, frozen=True):
    """A GET; 200 to 399 is success. `port` may name a container port."""

    port: IntOrString
    path: str = "/"
    host: str = ""
    scheme: Literal["HTTP", "HTTPS"] = "HTTP"
    http_headers: tuple[HTTPHeader, ...] = ()


class TCPSocketAction(Part, frozen=True):
    """A connection."""

    port: IntOrString
    host: str = ""


class ExecAction(Part, frozen=True):
    """A command; exit code 0 is success."""

    command: tuple[str, ...] = ()


class GRPCAction(Part, frozen=True):
    """The gRPC health service."""

    port: PortNumber
    service: str = ""


class SleepAction(Part, frozen=True):
    """A pause, in seconds."""

    seconds: int


class Probe(Part, frozen=True):
    """How a container is asked whether it is well. Seconds."""

    exec: ExecAction | None = None
    http_get: HTTPGetAction | None = None
    tcp_socket: TCPSocketAction | None = None
    grpc: GRPCAction | None = None
    initial_delay_seconds: Natural = 0
    timeout_seconds: Positive = 1
    period_seconds: Positive = 10
    success_threshold: Positive = 1
    failure_threshold: Positive = 3
    termination_grace_period_seconds: Positive | None = None


class LifecycleHandler(Part, frozen=True):
    """What is done at the start or end of a container."""

    exec: ExecAction | None = None
    http_get: HTTPGetAction | None = None
    tcp_socket: TCPSocketAction | None = None
    sleep: SleepAction | None = None


class Lifecycle(Part, frozen=True):
    """Hooks of a container."""

    post_start: LifecycleHandler | None = None
    pre_stop: LifecycleHandler | None = None
    stop_signal: str | None = None


class ContainerPort(Part, frozen=True):
    """A port that a container listens on."""

    container_port: PortNumber
    name: str = ""
    protocol: Protocol = "TCP"
    host_port: Natural = 0
    host_ip: str = field(name="hostIP", default="")


class ConfigMapKeySelector(Part, frozen=True):
    """A key of a ConfigMap."""

    key: str
    name: str = ""
    optional: bool = False


class SecretKeySelector(Part, frozen=True):
    """A key of a Secret."""

    key: str
    name: str = ""
    optional: bool = False


class ObjectFieldSelector(Part, frozen=True):
    """A field of the pod itself."""

    field_path: str
    api_version: str = "v1"


class EnvVarSource(Part, frozen=True):
    """Where a variable's value comes from."""

    field_ref: ObjectFieldSelector | None = None
    config_map_key_ref: ConfigMapKeySelector | None = None
    secret_key_ref: SecretKeySelector | None = None
    resource_field_ref: Opaque = None
    file_key_ref: Opaque = None


class EnvVar(Part, frozen=True):
    """A variable of the environment; `$(NAME)` in values refers to earlier ones."""

    name: str
    value: str = ""
    value_from: EnvVarSource | None = None


class EnvObjectSource(Part, frozen=True):
    """A ConfigMap or Secret all of whose keys become variables."""

    name: str = ""
    optional: bool = False


class EnvFromSource(Part, frozen=True):
    """Many variables at once."""

    prefix: str = ""
    config_map_ref: EnvObjectSource | None = None
    secret_ref: EnvObjectSource | None = None


class Container(Part, frozen=True):
    """A process of a pod. `command` None = the image's own, which standalone cannot run."""

    name: str
    image: str = ""
    command: tuple[str, ...] = ()
    args: tuple[str, ...] = ()
    working_dir: str = ""
    env: tuple[EnvVar, ...] = ()
    env_from: tuple[EnvFromSource, ...] = ()
    ports: tuple[ContainerPort, ...] = ()
    readiness_probe: Probe | None = None
    liveness_probe: Probe | None = None
    startup_probe: Probe | None = None
    lifecycle: Lifecycle | None = None
    restart_policy: Literal["Always", "OnFailure", "Never"] | None = None
    restart_policy_rules: tuple[Opaque, ...] = ()
    resources: Opaque = None
    resize_policy: tuple[Opaque, ...] = ()
    image_pull_policy: Literal["Always", "IfNotPresent", "Never"] | None = None
    security_context: Opaque = None
    stdin: bool = False
    stdin_once: bool = False
    tty: bool = False
    termination_message_path: str = ""
    termination_message_policy: Literal["File", "FallbackToLogsOnError"] | None = None
    volume_devices: tuple[Opaque, ...] = ()
    volume_mounts: tuple[Opaque, ...] = ()


class PodSpec(Part, frozen=True):
    """core/v1 PodSpec, all fields."""

    containers: tuple[Container, ...]
    init_containers: tuple[Container, ...] = ()
    restart_policy: Literal["Always", "OnFailure", "Never"] = "Always"
    termination_grace_period_seconds: Natural = 30
    active_deadline_seconds: Positive | None = None
    hostname: str = ""
    subdomain: str = ""
    node_name: str = ""
    node_selector: dict[str, str] = field(default_factory=dict)
    affinity: Opaque = None
    automount_service_account_token: bool | None = None
    dns_config: Opaque = None
    dns_policy: Literal["ClusterFirst", "ClusterFirstWithHostNet", "Default", "None"] | None = None
    enable_service_links: bool | None = None
    ephemeral_containers: tuple[Opaque, ...] = ()
    host_aliases: tuple[Opaque, ...] = ()
    host_ipc: bool = field(name="hostIPC", default=False)
    host_network: bool = False
    host_pid: bool = field(name="hostPID", default=False)
    host_users: bool | None = None
    hostname_override: str | None = None
    image_pull_secrets: tuple[Opaque, ...] = ()
    os: Opaque = None
    overhead: Opaque = None
    preemption_policy: Literal["PreemptLowerPriority", "Never"] | None = None
    priority: Int32 | None = None
    priority_class_name: str = ""
    readiness_gates: tuple[Opaque, ...] = ()
    resource_claims: tuple[Opaque, ...] = ()
    resources: Opaque = None
    runtime_class_name: str | None = None
    scheduler_name: str = ""
    scheduling_gates: tuple[Opaque, ...] = ()
    scheduling_group: Opaque = None
    security_context: Opaque = None
    service_account: str = ""
    service_account_name: str = ""
    set_hostname_as_fqdn: bool | None = field(name="setHostnameAsFQDN", default=None)
    share_process_namespace: bool | None = None
    tolerations: tuple[Opaque, ...] = ()
    topology_spread_constraints: tuple[Opaque, ...] = ()
    volumes: tuple[Opaque, ...] = ()
    workload_ref: Opaque = None


class Pod(Part, frozen=True, omit_defaults=False):
    """Containers that run together."""

    metadata: ObjectMeta
    spec: PodSpec
    api_version: str = "v1"
    kind: str = "Pod"


class PodTemplateSpec(Part, frozen=True):
    """What pods are made from."""

    spec: PodSpec
    metadata: TemplateMeta = TemplateMeta()


class RollingUpdateDeployment(Part, frozen=True):
    """How many pods may be missing or extra during a rollout: numbers, or percent of the replicas."""

    max_unavailable: IntOrString = "25%"
    max_surge: IntOrString = "25%"


class DeploymentStrategy(Part, frozen=True):
    """How old pods give way to new ones."""

    type: Literal["RollingUpdate", "Recreate"] = "RollingUpdate"
    rolling_update: RollingUpdateDeployment | None = None


class DeploymentSpec(Part, frozen=True):
    """apps/v1 DeploymentSpec, all fields."""

    selector: LabelSelector
    template: PodTemplateSpec
    replicas: Natural = 1
    strategy: DeploymentStrategy = DeploymentStrategy()
    min_ready_seconds: Natural = 0
    revision_history_limit: Natural = 10
    progress_deadline_seconds: Natural = 600
    paused: bool = False


class Deployment(Part, frozen=True, omit_defaults=False):
    """Equal pods that are kept running."""

    metadata: ObjectMeta
    spec: DeploymentSpec
    api_version: str = "apps/v1"
    kind: str = "Deployment"


class JobSpec(Part, frozen=True):
    """batch/v1 JobSpec, all fields."""

    template: PodTemplateSpec
    parallelism: Natural = 1
    completions: Natural | None = None
    backoff_limit: Natural | None = None
    active_deadline_seconds: Positive | None = None
    suspend: bool = False
    completion_mode: Literal["NonIndexed", "Indexed"] = "NonIndexed"
    ttl_seconds_after_finished: Natural | None = None
    backoff_limit_per_index: Natural | None = None
    max_failed_indexes: Natural | None = None
    selector: LabelSelector | None = None
    manual_selector: bool = False
    managed_by: str | None = None
    pod_failure_policy: Opaque = None
    pod_replacement_policy: Literal["TerminatingOrFailed", "Failed"] | None = None
    success_policy: Opaque = None


class Job(Part, frozen=True, omit_defaults=False):
    """Pods that run to their end."""

    metadata: ObjectMeta
    spec: JobSpec
    api_version: str = "batch/v1"
    kind: str = "Job"
