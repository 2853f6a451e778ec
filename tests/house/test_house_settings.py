"""Every setting is documented, and the page says what is true."""

from __future__ import annotations

from house import ROOT

from golemp2p_node.config_text import as_markdown
from golemp2p_node.setting_docs import DOCS
from golemp2p_node.sources import variable


def test_settings_page_is_current() -> None:
    """After a change: ``golemp2p node config --markdown > docs/settings.md``."""
    assert (ROOT / "docs/settings.md").read_text(encoding="utf-8") == as_markdown()


def test_settings_page_has_every_setting() -> None:
    page = (ROOT / "docs/settings.md").read_text(encoding="utf-8")
    missing = [key for key in DOCS if f"| `{key}` | `{variable(key)}` |" not in page]
    assert missing == []


def test_readme_leads_to_the_settings() -> None:
    assert "docs/settings.md" in (ROOT / "README.md").read_text(encoding="utf-8")
