"""Turn a STIX 2.0 object into the STIX 2.1 object that says the same.

The differences are those that STIX 2.1 Appendix E lists: `spec_version` on every object, the open
vocabularies that 2.0 kept in `labels`, a pattern's type, and properties that became required.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from tiforge.stix.check import UNVERSIONED

_VOCABULARY: Final = {
    "indicator": "indicator_types",
    "malware": "malware_types",
    "report": "report_types",
    "threat-actor": "threat_actor_types",
    "tool": "tool_types",
    "identity": "roles",
}


def upgrade(candidate: Mapping[str, Any]) -> dict[str, Any]:
    """Return the STIX 2.1 form of an object.

    Args:
        candidate: A STIX 2.0 or 2.1 object as JSON data. One that has `spec_version` 2.1 comes back as it
            is, in a new dictionary.

    Returns:
        The object with `spec_version` 2.1. Its id, times and `labels` are kept.
    """
    if candidate.get("spec_version") == "2.1":
        return dict(candidate)
    type = candidate.get("type")
    result: dict[str, Any] = {"type": type, "spec_version": "2.1"}
    result.update((key, value) for key, value in candidate.items() if key not in ("type", "spec_version"))
    labels = candidate.get("labels")
    vocabulary = _VOCABULARY.get(type) if isinstance(type, str) else None
    if vocabulary and labels and vocabulary not in result:
        result[vocabulary] = list(labels)
    if type == "indicator":
        result.setdefault("pattern_type", "stix")
        if "valid_from" not in result and "created" in result:
            result["valid_from"] = result["created"]
    elif type == "malware":
        # 2.0 did not say; a name that stands for one sample is the narrower claim.
        result.setdefault("is_family", False)
    elif type == "observed-data":
        result.setdefault("number_observed", 1)
    if type not in UNVERSIONED and "created" in result:
        result.setdefault("modified", result["created"])
    return result
