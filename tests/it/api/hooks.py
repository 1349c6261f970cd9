"""What schemathesis cannot write by itself: bytes that are to be a component."""

import schemathesis


@schemathesis.serializer("application/wasm")
def wasm(_context, value):
    return value if isinstance(value, bytes) else str(value).encode()
