"""URLs to which something is sent."""

from urllib.parse import urlsplit

from gonogo.errors import ConfigError


def require_http(url: str, option: str) -> None:
    """Do nothing, or refuse what is no URL of HTTP that can be called as it stands.

    No message repeats the URL: it may have a password or a token.

    Raises:
        ConfigError: it is of another scheme, has no host, a wrong host or port, a user name or password, or characters
            that a URL must have escaped.
    """
    expected = f"{option}: expected http://HOST/... or https://HOST/..."
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
        if host is not None:
            host.encode("idna")
    except ValueError:  # UnicodeError is one; what it says may repeat what stands in the place of the port
        raise ConfigError(f"{expected}, got a URL whose host or port is wrong") from None
    if parts.scheme not in ("http", "https"):
        raise ConfigError(f"{expected}, got the scheme {parts.scheme!r}")
    if not host or port == 0:
        raise ConfigError(f"{expected}, got a URL without a host, or with the port 0")
    if parts.username is not None or parts.password is not None:
        raise ConfigError(
            f"{option} has a user name or a password in its URL, which every user of this machine can see; leave it "
            "out: each delivery is signed"
        )
    if not (url.isascii() and url.isprintable()) or " " in url:
        raise ConfigError(f"{expected}, got a URL with a blank or another character that must be escaped as %XX")
