"""Mimecast threat-intelligence feeds for tiforge."""

tiforge_api_version = 1
