"""Errors of the master itself; those that cross the wire are in `omserver_client.errors`.

OMServerError                    (omserver_client.errors)
├── SettingsError (ValueError)   a setting, or the data folder, is not as it must be
├── LeaseLost                    another worker has the job now; nothing was written
├── SiteKeyError                 HOME/site.key is missing, readable by others, or not the right one
├── DatabaseBehind               the tables are not those of this version
└── AuditBroken                  the chain of audit rows does not hold
"""

from __future__ import annotations

from omserver_client.errors import OMServerError


class SettingsError(OMServerError, ValueError):
    """A setting is wrong."""


class LeaseLost(OMServerError):
    """Another worker has this job now."""


class SiteKeyError(OMServerError):
    """The site key cannot be used."""


class DatabaseBehind(OMServerError):
    """The database needs `omserver db upgrade`."""


class AuditBroken(OMServerError):
    """The chain of audit rows is broken."""
