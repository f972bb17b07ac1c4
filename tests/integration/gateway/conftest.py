from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from channels.layers import get_channel_layer


@pytest.fixture(autouse=True)
async def layer_is_closed(nothing_left_behind: None) -> AsyncIterator[None]:
    """The layer stops following the inbox only after some time by itself."""
    yield
    layer = get_channel_layer()
    assert layer is not None
    await layer.close()
