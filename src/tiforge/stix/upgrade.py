"""Turn a STIX 2.0 object into the STIX 2.1 object that says the same.

The differences are those that STIX 2.1 Appendix E lists: `spec_version` on every object, the open
vocabularies that 2.0 kept in `labels`, a pattern's type, properties that became required, and the ids of the
cyber-observables inside observed data, which 2.0 numbered.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from tiforge.stix.check import UNVERSIONED
from tiforge.stix.ids import stable_id

_VOCABULARY: Final = {
    "indicator": "indicator_types",
    "malware": "malware_types",
    "report": "report_types",
    "threat-actor": "threat_actor_types",
    "tool": "tool_types",
    "identity": "roles",
}

_TIMES: Final = {"created": "ctime", "modified": "mtime", "accessed": "atime"}
_RENAMED: Final[Mapping[str, Mapping[str, str]]] = {
    "directory": _TIMES,
    "file": _TIMES,
    "process": {"created": "created_time", "binary_ref": "image_ref"},
    "user-account": {"password_last_changed": "credential_last_changed"},
    "windows-registry-key": {"modified": "modified_time"},
}


def upgrade(candidate: Mapping[str, Any]) -> dict[str, Any]:
    """Return the STIX 2.1 form of an object.

    Args:
        candidate: A STIX 2.0 or 2.1 object as JSON data. One that has `spec_version` 2.1 comes back as it
            is, in a new dictionary.

    Returns:
        The object with `spec_version` 2.1. Its id, times and `labels` are kept. What is wrong with it
        otherwise is for `check` to say.
    """
    if candidate.get("spec_version") == "2.1":
        return dict(candidate)
    kind = candidate.get("type")
    type = kind if isinstance(kind, str) else ""
    result: dict[str, Any] = {"type": kind, "spec_version": "2.1"}
    result.update((key, value) for key, value in candidate.items() if key not in ("type", "spec_version"))
    labels = candidate.get("labels")
    vocabulary = _VOCABULARY.get(type)
    if vocabulary and labels and isinstance(labels, list) and vocabulary not in result:
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
        if isinstance(result.get("objects"), dict):
            result["objects"] = _identified(result["objects"], str(result.get("id")))
    elif type == "marking-definition" and isinstance(result.get("definition"), Mapping):
        level = result["definition"].get("tlp")
        if isinstance(level, str):
            result.setdefault("name", f"TLP:{level.upper()}")
    if type not in UNVERSIONED and "created" in result:
        result.setdefault("modified", result["created"])
    return result


def _identified(observed: Mapping[str, Any], parent: str) -> dict[str, Any]:
    """Give each cyber-observable an id, its key too, and 2.1's names; let the others refer to it by that."""
    kinds = {key: each.get("type") for key, each in observed.items() if isinstance(each, dict)}
    ids = {
        key: str(observed[key].get("id") or stable_id(kind, parent, key))
        for key, kind in kinds.items()
        if isinstance(kind, str)
    }
    return {
        ids.get(key, key): _observable(each, ids[key], ids) if key in ids else each
        for key, each in observed.items()
    }


def _observable(old: Mapping[str, Any], id: str, ids: Mapping[str, str]) -> dict[str, Any]:
    names = _RENAMED.get(old["type"], {})
    renamed = {names.get(name, name): value for name, value in old.items()}
    return {**_referring(renamed, ids), "spec_version": "2.1", "id": id}


def _referring(old: Mapping[str, Any], ids: Mapping[str, str]) -> dict[str, Any]:
    """Replace the numbers in `…_ref` and `…_refs`, in extensions too."""
    new: dict[str, Any] = {}
    for name, value in old.items():
        if isinstance(value, str) and name.endswith("_ref"):
            new[name] = ids.get(value, value)
        elif isinstance(value, list) and name.endswith("_refs"):
            new[name] = [ids.get(each, each) if isinstance(each, str) else each for each in value]
        elif isinstance(value, dict):
            new[name] = _referring(value, ids)
        elif isinstance(value, list):
            new[name] = [_referring(each, ids) if isinstance(each, dict) else each for each in value]
        else:
            new[name] = value
    return new
