"""What went wrong with a store, in one line: whether it may pass, and what to do about it.

Only words of ours and the bare URL are in the line: what clients say may hold signatures, keys and
names of accounts.
"""

import socket
import ssl
from collections.abc import Iterator
from dataclasses import dataclass

from pipeline.errors import ConfigError, PipelineError, SlideChangedError, UnreachableSlideError
from pipeline.io.remote import is_web, shown

_GIVE_CREDENTIALS = (
    "give credentials by AWS_PROFILE, or by AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY "
    "(FSSPEC_S3_ANON=true for a public bucket)"
)
_NEW_LINK = "a signed link may have ended: ask for a new one"
_NO_KEYS = frozenset(
    (
        *("NoCredentialsError", "PartialCredentialsError", "CredentialRetrievalError"),
        *("ProfileNotFound", "TokenRetrievalError", "SSOTokenLoadError"),
        "UnauthorizedSSOTokenError",
    )
)
_DENIED = frozenset(("AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken"))
_NO_BUCKET = frozenset(("NoSuchBucket",))
_PASSING_STATUS = frozenset((408, 425, 429))
_CLIENTS = ("aiohttp", "botocore", "aiobotocore", "urllib3", "requests", "google", "azure")


@dataclass(frozen=True, slots=True)
class Fault:
    """One failed call: what to tell, and whether another try may go well."""

    error: PipelineError
    passing: bool = False


def fault_of(url: str, error: Exception) -> Fault:
    """Say what an error of a store's client means."""
    if isinstance(error, PipelineError):
        return Fault(error)
    chain = list(_chain(error))
    statuses = {status for link in chain if (status := _status(link))}
    codes = {code for link in chain if (code := _code(link))}
    names = {type(link).__name__ for link in chain}
    if any(isinstance(link, ImportError) for link in chain):
        return Fault(ConfigError(_line(url, 'run pip install "ki67-pipeline[remote]" to read it')))
    for found in (
        _changed(url, statuses, codes, names),
        _nowhere(url, chain, names),
        _refused(url, chain, statuses, codes, names),
        _missing(url, chain, statuses, codes),
    ):
        if found is not None:
            return found
    return _other(url, chain, statuses)


def _changed(url: str, statuses: set[int], codes: set[str], names: set[str]) -> Fault | None:
    if statuses & {412, 416} or "InvalidRange" in codes or "FileExpired" in names:
        return Fault(SlideChangedError(_line(url, "it changed while it was read; run again")))
    return None


def _nowhere(url: str, chain: list[BaseException], names: set[str]) -> Fault | None:
    if any(isinstance(link, ssl.SSLCertVerificationError) for link in chain) or (
        "SSLError" in names and "CERTIFICATE_VERIFY_FAILED" in str(chain)
    ):
        remedy = "name its authority's file by SSL_CERT_FILE (AWS_CA_BUNDLE for s3://)"
        return _lost(url, f"the server's certificate is not trusted; {remedy}")
    if any(isinstance(link, socket.gaierror) for link in chain) or (
        "ClientConnectorDNSError" in names
    ):
        remedy = "check the address" if is_web(url) else "check AWS_ENDPOINT_URL and the region"
        return _lost(url, f"its host is not known (DNS); {remedy}")
    return None


def _refused(
    url: str, chain: list[BaseException], statuses: set[int], codes: set[str], names: set[str]
) -> Fault | None:
    remedy = _NEW_LINK if is_web(url) else _GIVE_CREDENTIALS
    if names & _NO_KEYS:
        return _lost(url, f"no credentials were found; {_GIVE_CREDENTIALS}")
    denied = statuses & {401, 403} or codes & _DENIED
    if denied or any(isinstance(link, PermissionError) for link in chain):
        return _lost(url, f"access is denied; {remedy}")
    return None


def _missing(
    url: str, chain: list[BaseException], statuses: set[int], codes: set[str]
) -> Fault | None:
    if codes & _NO_BUCKET or "bucket does not exist" in str(chain[0]):
        return _lost(url, "there is no such bucket; check its name and AWS_ENDPOINT_URL")
    unanswered = any(isinstance(link, ConnectionError | TimeoutError) for link in chain)
    if statuses & {404, 410} or (isinstance(chain[0], FileNotFoundError) and not unanswered):
        return _lost(url, "there is no such object; check the name")
    return None


def _other(url: str, chain: list[BaseException], statuses: set[int]) -> Fault:
    status = next(iter(statuses), 0)
    client = any(type(link).__module__.startswith(_CLIENTS) for link in chain)
    if status and status < 500 and status not in _PASSING_STATUS:
        return _lost(url, f"the server refuses (status {status})")
    said = f"status {status}" if status else type(chain[-1]).__name__
    if status or client or any(isinstance(link, OSError) for link in chain):
        reason = f"the server cannot be reached ({said}); run again when it can"
        return Fault(UnreachableSlideError(_line(url, reason)), passing=True)
    return _lost(url, f"cannot be read ({said})")


def _lost(url: str, reason: str) -> Fault:
    return Fault(UnreachableSlideError(_line(url, reason)))


def _line(url: str, reason: str) -> str:
    return f"{shown(url)}: {reason}"


def _chain(error: BaseException) -> Iterator[BaseException]:
    """The error, what it was made from, and what botocore keeps beside it."""
    seen: set[int] = set()
    left: list[object] = [error]
    while left:
        link = left.pop(0)
        if not isinstance(link, BaseException) or id(link) in seen:
            continue
        seen.add(id(link))
        yield link
        kept = getattr(link, "kwargs", None)
        left += [link.__cause__, link.__context__, getattr(link, "os_error", None)]
        left.append(kept.get("error") if isinstance(kept, dict) else None)


def _status(error: BaseException) -> int | None:
    said = getattr(error, "status", None) or getattr(error, "code", None)
    answer = getattr(error, "response", None)
    if isinstance(answer, dict):
        said = answer.get("ResponseMetadata", {}).get("HTTPStatusCode")
    return said if isinstance(said, int) and 400 <= said < 600 else None


def _code(error: BaseException) -> str | None:
    answer = getattr(error, "response", None)
    return str(answer.get("Error", {}).get("Code")) if isinstance(answer, dict) else None
