"""STIX 2.1 in files for tiforge."""

tiforge_api_version = 1
