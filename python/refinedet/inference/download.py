"""Images from the web: http and https, of a limited size, in a limited time."""

from __future__ import annotations

import http.client
import re
import time
import urllib.request
from urllib.error import HTTPError, URLError

SILENCE_SECONDS = 10.0
TOTAL_SECONDS = 60.0
MAX_BYTES = 100 * 2**20
_CHUNK = 1 << 16
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://|(file|data):", re.IGNORECASE)


def is_url(text: str) -> bool:
    """Whether this is an address, of whatever kind, and no path."""
    return _SCHEME.match(text) is not None


def check_url(url: str) -> None:
    """ValueError unless the address is one of http or https with a host."""
    scheme, _, rest = url.partition("://")
    if scheme.lower() not in ("http", "https") or not rest.strip("/"):
        raise ValueError(f"images: expected a path, or an address of http or https, got {url!r}")


def download(
    url: str,
    *,
    silence_seconds: float = SILENCE_SECONDS,
    total_seconds: float = TOTAL_SECONDS,
    max_bytes: int = MAX_BYTES,
) -> bytes:
    """What an http or https address gives.

    ValueError for another kind of address. OSError that names the address if it cannot be had, is silent for
    silence_seconds, takes longer than total_seconds, gives more than max_bytes or less than it announced.
    """
    check_url(url)
    opener = urllib.request.OpenerDirector()  # the usual opener would follow a redirect to ftp
    for handler in (
        urllib.request.ProxyHandler(),
        urllib.request.HTTPHandler(),
        urllib.request.HTTPSHandler(),
        urllib.request.HTTPRedirectHandler(),
        urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.HTTPErrorProcessor(),
        urllib.request.UnknownHandler(),
    ):
        opener.add_handler(handler)
    # some servers refuse what does not name itself
    request = urllib.request.Request(url, headers={"User-Agent": "refinedet-ext"})
    end = time.monotonic() + total_seconds
    try:
        with opener.open(request, timeout=min(silence_seconds, total_seconds)) as response:
            announced = response.headers.get("Content-Length")
            if announced is not None and announced.isdecimal() and int(announced) > max_bytes:
                raise OSError(f"expected at most {max_bytes} bytes, it announces {announced}")
            parts, size = [], 0
            while part := response.read1(_CHUNK):
                parts.append(part)
                size += len(part)
                if size > max_bytes:
                    raise OSError(f"expected at most {max_bytes} bytes, it gives more")
                if time.monotonic() > end:
                    raise OSError(f"not complete after {total_seconds:g} seconds ({size} bytes)")
            if announced is not None and announced.isdecimal() and size != int(announced):
                raise OSError(f"it ended after {size} of {announced} bytes")
    except HTTPError as error:
        raise OSError(f"cannot read {url}: {error.code} {error.reason}") from error
    except URLError as error:
        raise OSError(f"cannot read {url}: {error.reason}") from error
    except TimeoutError as error:
        raise OSError(f"cannot read {url}: no answer for {silence_seconds:g} seconds") from error
    except (OSError, http.client.HTTPException, ValueError) as error:  # ValueError: a port that is no number
        raise OSError(f"cannot read {url}: {error or type(error).__name__}") from error
    return b"".join(parts)
