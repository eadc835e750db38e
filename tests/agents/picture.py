"""Pictures of one colour."""

import struct
import zlib

from conversation import Lost


def picture(red, green, blue, side=16):
    """A PNG of one colour."""

    def chunk(kind, content):
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    row = b"\0" + bytes([red, green, blue]) * side
    head = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(row * side)) + chunk(b"IEND", b"")


def colour(image):
    """The colour of the first pixel of a PNG with eight bits a channel, whoever wrote the file."""
    if image[:8] != b"\x89PNG\r\n\x1a\n":
        raise Lost(f"the picture is no PNG any more: {image[:16]!r}")
    at, data, palette, kind = 8, b"", b"", None
    while at < len(image):
        size, name = struct.unpack(">I4s", image[at:at + 8])
        content = image[at + 8:at + 8 + size]
        if name == b"IHDR":
            kind = content[9]
        elif name == b"PLTE":
            palette = content
        elif name == b"IDAT":
            data += content
        at += size + 12
    # The first pixel of the first row has no neighbours, so every filter leaves it as it is.
    pixel = zlib.decompress(data)[1:4]
    return (palette[:3] if kind == 3 else pixel).hex()
