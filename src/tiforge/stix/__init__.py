"""Build STIX 2.1 objects as plain data, and read what their patterns say.

The `stix2` library checks every property as it builds, which takes some 340 µs an object. A feed's rows
become the same few shapes a million times, so tiforge builds them as plain dictionaries (about 1 µs) and
keeps `stix2`, `stix2-patterns` and `stix2-validator` as referees in its tests and in `tiforge validate`.
"""

from tiforge.stix.check import check
from tiforge.stix.ids import NAMESPACE, sco_id, stable_id
from tiforge.stix.objects import (
    domain_name,
    email_address,
    extension_definition,
    file,
    identity,
    indicator,
    ip_address,
    malware,
    observed_data,
    relationship,
    sighting,
    url,
)
from tiforge.stix.pattern import Observable, equals, observables
from tiforge.stix.time import from_micros, micros, parse_timestamp, timestamp
from tiforge.stix.tlp import TLP
from tiforge.stix.upgrade import upgrade

__all__ = [
    "NAMESPACE",
    "TLP",
    "Observable",
    "check",
    "domain_name",
    "email_address",
    "equals",
    "extension_definition",
    "file",
    "from_micros",
    "identity",
    "indicator",
    "ip_address",
    "malware",
    "micros",
    "observables",
    "observed_data",
    "parse_timestamp",
    "relationship",
    "sco_id",
    "sighting",
    "stable_id",
    "timestamp",
    "upgrade",
    "url",
]
