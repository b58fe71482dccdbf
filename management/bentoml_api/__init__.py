"""How is the management called by BentoML's own client, which is made for a cloud?

``bentoml deploy``, ``push``, ``secret`` and the like, and ``bentoml.deployment`` in Python, work with any server that
answers the calls of ``bentoml._internal.cloud.client``. This package is that server: it translates, and calls the same
commands as the documented API.
"""

from typing import Final

PREFIX: Final = "/bentoml"
"""Root of the section. A request that its header marks as one of the client is put below it, whatever its path."""
