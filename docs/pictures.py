"""Make the pictures of the README from the demo's run: `make demo`, then `.venv/bin/python docs/pictures.py`."""

import base64
import re
from pathlib import Path

ROOT = Path(__file__).parents[1]


def main() -> None:
    """Take the first picture of the demo's page."""
    page = (ROOT / "runs" / "demo" / "report.html").read_text()
    pictures = re.findall(r'src="data:image/png;base64,([^"]+)"', page)
    (ROOT / "docs" / "circles.png").write_bytes(base64.b64decode(pictures[0]))


if __name__ == "__main__":
    main()
