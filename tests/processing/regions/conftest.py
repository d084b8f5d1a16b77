import pytest
from wenlan.processing.regions.fonts import _open_fonts


@pytest.fixture
def only_pillow(monkeypatch):
    """As if no package with fonts were installed."""
    monkeypatch.setattr("wenlan.processing.regions.fonts.find_spec", lambda name: None)
    _open_fonts.cache_clear()
    yield
    _open_fonts.cache_clear()
