"""The lines of the README are run as they are pasted."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

from pypdf import PdfReader

from tests.scenarios.harness import Installation

ROOT = Path(__file__).resolve().parent.parent.parent


def test_it_answers_the_curl_lines_as_pasted(tmp_path: Path) -> None:
    blocks = re.findall(r"```sh\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert len(blocks) == 6
    installation = Installation(tmp_path / "instance", BILLTRACK_DEMO="1")
    with installation.start("up") as running:
        running.wait_for("Press Ctrl-C")
        output = _paste(blocks, installation, tmp_path)
    assert '"total":"205.00"' in output
    assert '"total":"6.00"' in output
    assert '"email":"eve@example.com"' in output
    assert output.count('"refresh_token":"bt_refresh_') == 1
    text = PdfReader(tmp_path / "report.pdf").pages[0].extract_text()
    assert "Ada Example" in text
    assert "205.00" in text


def _paste(blocks: list[str], installation: Installation, folder: Path) -> str:
    address = f"http://localhost:{installation.port}"
    script = "set -eu\n" + "\n".join(blocks).replace("http://localhost:6009", address)
    (folder / ".venv").symlink_to(ROOT / ".venv")
    done = subprocess.run(
        ["bash", "-c", script],
        cwd=folder,
        env={**os.environ, **installation.environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return done.stdout
