"""Fixtures for the tests of the flow."""

from __future__ import annotations

import pytest
from microdata_support import Themes, build_themes


@pytest.fixture(scope="session")
def themes(tmp_path_factory: pytest.TempPathFactory) -> Themes:
    """All themes on the deliveries of two municipalities; read it, do not change it."""
    return build_themes(tmp_path_factory.mktemp("themes"), ["GM1695", "GM1991"])
