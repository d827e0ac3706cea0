"""Names of models behind servers: vllm:URL#name and openai:URL#name, with what the client must know in the query."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import parse_qsl, urlsplit

from beb.errors import BadSpec

VLLM, OPENAI = "vllm:", "openai:"
FORM = "vllm:http://HOST:PORT#NAME"
_OPTIONS = "tokenizer, concurrency, timeout, retries, key"
_OF_CLIENT = ("concurrency", "timeout", "retries", "key")
"""Options that say how to ask, not what is asked."""
_BEFORE = re.compile(r"(?:model:|lora@)?\s*(?:vllm:|openai:)")
_ENVIRONMENT_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_OPENAI_HOST = "api.openai.com"


@dataclass(frozen=True, slots=True)
class ServerAddress:
    """Where a served model is and how to ask.

    kind: what the server can do. url: base without the "/v1". name: of the model or LoRA module there; "" if the server
    has only one. tokenizer: folder or hub name; "" for what the server says. concurrency: requests at once. timeout:
    seconds without a byte before a try is given up; the whole of an answer may take ten times as long. retries: tries
    after the first. key: environment variable with the API key; "" for none. The key itself is read when a request is
    sent and is in no field.
    """

    kind: Literal["vllm", "openai"]
    url: str
    name: str = ""
    tokenizer: str = ""
    concurrency: int = 16
    timeout: float = 120.0
    retries: int = 5
    key: str = ""

    @property
    def shown(self) -> str:
        """As the user wrote it, less the options."""
        return f"{self.kind}:{self.url}{'#' if self.name else ''}{self.name}"

    def secret(self) -> str | None:
        """The API key, from the environment. Raises: BadSpec if the variable that was named is not set."""
        value = os.environ.get(self.key) if self.key else None
        if self.key and not value:
            raise BadSpec(f"{self.shown}: the environment variable {self.key} with its API key is not set; export it")
        return value


def is_served(name: str) -> bool:
    """Whether a model's name is that of a served one."""
    return name.startswith((VLLM, OPENAI))


def is_chat_api(name: str) -> bool:
    """Whether a model's name is that of a chat API, which gives texts only."""
    return name.startswith(OPENAI)


def parse_address(name: str) -> ServerAddress:
    """The address in "vllm:URL[?option=value&...][#model]" or "openai:...".

    Raises: BadSpec, saying which part is wrong; a key or password inside the URL is refused, as it would be stored.
    """
    kind, _, rest = name.partition(":")
    try:
        parts = urlsplit(rest.strip())
        _ = parts.port
    except ValueError as error:
        raise BadSpec(f"{name!r} holds no address ({error}); give {FORM}") from error
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise BadSpec(f"{name!r} holds no http or https address; give {FORM}")
    if parts.username or parts.password:
        raise BadSpec(
            "a user name or password in a server's URL would be stored with the run; put the key into an environment "
            "variable and name it: ?key=VARIABLE"
        )
    options = _options(parts.query)
    base = f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/').removesuffix('/v1')}"
    served: Literal["vllm", "openai"] = "vllm" if kind == "vllm" else "openai"
    options.setdefault("key", _default_key(served, parts.hostname))
    return ServerAddress(served, base, parts.fragment, **options)


def without_client_options(name: str) -> str:
    """A model's or component's name less what does not tell which model it is; any other text as it is."""
    if not _BEFORE.match(name):
        return name
    address, mark, model = name.partition("#")
    base, _, query = address.partition("?")
    kept = "&".join(each for each in query.split("&") if each and each.partition("=")[0] not in _OF_CLIENT)
    return f"{base}{'?' * bool(kept)}{kept}{mark}{model}"


def _default_key(kind: str, host: str) -> str:
    """The variable that is used unasked: a key is never sent to a host that it was not made for."""
    if kind == "openai" and host == _OPENAI_HOST:
        return "OPENAI_API_KEY"
    own = "VLLM_API_KEY" if kind == "vllm" else "BEB_API_KEY"
    return own if os.environ.get(own) else ""


def _options(query: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in parse_qsl(query, keep_blank_values=True):
        if key == "tokenizer" and value:
            found[key] = value
        elif key == "key":
            if not _ENVIRONMENT_NAME.fullmatch(value):
                raise BadSpec("?key= takes the name of an environment variable with the API key, never the key itself")
            found[key] = value
        elif key in ("concurrency", "retries") and value.isdecimal() and (int(value) or key == "retries"):
            found[key] = min(int(value), 1024)
        elif key == "timeout" and _is_positive(value):
            found[key] = float(value)
        else:
            # The value is not repeated: somebody may have put a key there.
            raise BadSpec(f"the server option ?{key}= is unknown or its value is not usable; options are {_OPTIONS}")
    return found


def _is_positive(text: str) -> bool:
    try:
        return 0 < float(text) < 1e6
    except ValueError:
        return False
