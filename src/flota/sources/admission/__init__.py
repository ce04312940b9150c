"""Strict admission of one document: as `kubectl apply --validate=strict` against a real API server, and the fields' own texts."""

from flota.sources.admission.admit import Admission, admit
from flota.sources.admission.fault import Fault

__all__ = ["Admission", "Fault", "admit"]
