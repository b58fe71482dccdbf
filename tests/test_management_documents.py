"""The API document's examples, as docs/management.md prints them, in order against the front door and real models."""

from __future__ import annotations

import re

from tests.servers import ROOT

PAGE = (ROOT / "docs" / "management.md").read_text()
EXAMPLES = re.findall(r"```bash\n(curl .*?)\n```", PAGE, re.DOTALL)
