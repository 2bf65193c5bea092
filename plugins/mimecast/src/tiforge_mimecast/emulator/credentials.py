"""The credentials that the emulator accepts. They open nothing else."""

from __future__ import annotations

from typing import Final

CLIENT_ID: Final = "emulator-client-id"
CLIENT_SECRET: Final = "emulator-only-client-secret"  # noqa: S105 - marked: it opens this emulator only
APP_ID: Final = "emulator-app-id"
APP_KEY: Final = "emulator-only-app-key"
ACCESS_KEY: Final = "emulator-only-access-key"
SECRET_KEY: Final = "ZW11bGF0b3Itb25seS1zZWNyZXQta2V5"  # noqa: S105 - base64 of "emulator-only-secret-key"
EMAIL: Final = "service@example.com"
PASSWORD: Final = "emulator-only-password"  # noqa: S105 - marked: it opens this emulator only
