"""The settings of the backend ``bentocloud``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, SecretStr
from pydantic_settings import SettingsConfigDict
from typing_extensions import override

from management.backends.backend import BackendSettings
from management.domain.keys import check_chosen
from management.settings import Key
from management.urls import private


class BentoCloudSettings(BackendSettings):
    """The backend ``bentocloud``."""

    model_config = SettingsConfigDict(env_prefix="ATELIER_CLOUD_")
    library = "bentoml"

    token: Key = None
    """API token of BentoCloud. Every process that can read or inherits this server's environment has it."""

    token_file: Path | None = None
    """File with only that token, which is then in no environment; it is read again when it changes."""

    endpoint_token: Key = None
    """Token for protected endpoints only, which is sent to models with each inference. Default: the API token."""

    endpoint_token_file: Path | None = None
    """File with only that token."""

    endpoint: Annotated[str, AfterValidator(private)] = "https://cloud.bentoml.com"
    """URL of BentoCloud; without TLS only on this machine."""

    cluster: str | None = None
    """Cluster that models run on. Default: the organization's first cluster."""

    instance_type: str | None = None
    """Instance type of every replica. Default: the cheapest one with the resources that a model requests."""

    @override
    def check(self) -> None:
        if self.token is None and self.token_file is None:
            raise ValueError("ATELIER_CLOUD_TOKEN_FILE or ATELIER_CLOUD_TOKEN is needed for BentoCloud")
        for file in filter(None, (self.token_file, self.endpoint_token_file)):
            token_in(file)


def token_in(file: Path) -> SecretStr:
    """Return the token that is the whole text of a file. Raises ValueError without one, or for an unreadable file."""
    try:
        token = file.read_text(encoding="utf-8").strip()
    except OSError as error:
        raise ValueError(f"{file} cannot be read ({error.strerror})") from error
    except UnicodeDecodeError:
        raise ValueError(f"{file} is not a text file with a token") from None
    check_chosen(token)
    return SecretStr(token)
