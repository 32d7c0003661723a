"""The Hugging Face Hub: names, and a client whose errors are sentences."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from manyways.errors import InputError

HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}")


def is_hub_name(text: str | Path) -> bool:
    """Return whether this is no folder here, but could be USER/NAME on the Hub."""
    return isinstance(text, str) and HUB_NAME.fullmatch(text) is not None and not Path(text).exists()


@contextmanager
def hub_client(doing: str) -> Iterator[Any]:
    """Yield huggingface_hub, whose errors become sentences."""
    try:
        import huggingface_hub
    except ImportError as error:
        raise InputError(f'{doing} needs huggingface_hub; run: pip install "manyways[hub]"') from error
    try:
        yield huggingface_hub
    except InputError:
        raise
    except (OSError, ValueError, huggingface_hub.errors.HfHubHTTPError) as error:
        reason = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
        raise InputError(f"{doing} failed ({reason}); check the name, `hf auth login` and the network") from error
    except Exception as error:  # the client's errors of the network are of whatever library it uses
        if type(error).__module__.split(".")[0] not in ("httpx", "httpx2", "httpcore", "httpcore2", "requests"):
            raise
        raise InputError(f"{doing} failed ({error}); check the network") from error
