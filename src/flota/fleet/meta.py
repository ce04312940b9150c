"""What every object has: metadata, labels, conditions (apimachinery meta/v1)."""

from datetime import datetime
from typing import Literal

from msgspec import Struct, field

Key = tuple[str, str]
"""(namespace, name). The namespace of a cluster-scoped object is empty."""


class Part(Struct, frozen=True, rename="camel", omit_defaults=True, gc=False):
    """A piece of an object, decoded from JSON names. `gc=False`: objects are trees, so reference counts free them.

    Fields that are not here are ignored: an API server's objects have more. That a file may have none of them is admission's rule.
    """


class ObjectMeta(Part, frozen=True):
    """meta/v1 ObjectMeta, the part that decides. Fields that only an API server sets are dropped on the way in.

    `creation_timestamp` is the time first seen and `generation` counts changes of the content; the source sets both.
    """

    name: str
    namespace: str = "default"
    labels: dict[str, str] = field(default_factory=dict)
    annotations: dict[str, str] = field(default_factory=dict)
    creation_timestamp: datetime | None = None
    generation: int = 0
    uid: str = ""
    """As an API server gives it; empty for objects of files."""


class TemplateMeta(Part, frozen=True):
    """Metadata of a pod template: only labels and annotations are used."""

    name: str = ""
    namespace: str = ""
    labels: dict[str, str] = field(default_factory=dict)
    annotations: dict[str, str] = field(default_factory=dict)


class Condition(Part, frozen=True):
    """meta/v1 Condition."""

    type: str
    status: Literal["True", "False", "Unknown"]
    reason: str
    message: str = ""
    observed_generation: int = 0
    last_transition_time: datetime | None = None


class LabelSelectorRequirement(Part, frozen=True):
    """meta/v1 LabelSelectorRequirement."""

    key: str
    operator: Literal["In", "NotIn", "Exists", "DoesNotExist"]
    values: tuple[str, ...] = ()

    def matches(self, labels: dict[str, str]) -> bool:
        """Whether `labels` satisfy it."""
        held = self.key in labels
        if self.operator == "Exists":
            return held
        if self.operator == "DoesNotExist":
            return not held
        inside = held and labels[self.key] in self.values
        return inside if self.operator == "In" else not inside


class LabelSelector(Part, frozen=True):
    """meta/v1 LabelSelector: all of it must hold; an empty one selects everything."""

    match_labels: dict[str, str] = field(default_factory=dict)
    match_expressions: tuple[LabelSelectorRequirement, ...] = ()

    def matches(self, labels: dict[str, str]) -> bool:
        """Whether `labels` satisfy it."""
        return all(labels.get(key) == value for key, value in self.match_labels.items()) and all(
            requirement.matches(labels) for requirement in self.match_expressions
        )


def key(metadata: ObjectMeta) -> Key:
    """(namespace, name): how a cluster's mappings find the object."""
    return metadata.namespace, metadata.name
