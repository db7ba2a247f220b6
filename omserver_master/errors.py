"""Errors of the master itself; those that cross the wire are in `omserver_client.errors`.

OMServerError                    (omserver_client.errors)
├── SettingsError (ValueError)   a setting, or the data folder, is not as it must be
├── LeaseLost                    another worker has the job now; nothing was written
├── CancelAsked                  somebody wants the job stopped; nothing was written
├── PauseAsked                   somebody wants the job to begin on no further host; nothing was written
├── SiteKeyError                 HOME/site.key is missing, readable by others, or not the right one
├── DatabaseBehind               the tables are not those of this version
├── AuditBroken                  the chain of audit rows does not hold
└── BackupRefused                a backup cannot be written, read or brought back as it is
"""

from __future__ import annotations

from omserver_client.errors import OMServerError


class SettingsError(OMServerError, ValueError):
    """A setting is wrong."""


class LeaseLost(OMServerError):
    """Another worker has this job now."""


class CancelAsked(OMServerError):
    """Somebody wants this job stopped: nothing of it is sent any more."""


class PauseAsked(OMServerError):
    """Somebody wants this job to begin on no further host."""


class SiteKeyError(OMServerError):
    """The site key cannot be used."""


class DatabaseBehind(OMServerError):
    """The database needs `omserver db upgrade`."""


class AuditBroken(OMServerError):
    """The chain of audit rows is broken."""


class BackupRefused(OMServerError):
    """A backup cannot be written, read or brought back."""
