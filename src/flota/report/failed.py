"""A question that has no answer: what was asked does not exist, or must not be done."""

from typing import Literal

from flota.report.shape import API_VERSION, ApiVersion, Row


class Failed(Row, frozen=True, kw_only=True):
    """Why there is no answer, and what could be asked instead. `code`: exit code of the command, 2 = asked wrongly."""

    api_version: ApiVersion = API_VERSION
    kind: Literal["Failed"] = "Failed"
    reason: str
    message: str
    code: Literal[1, 2] = 1
