"""Tables, records and buffers: checkpoint indices, TFRecord, Parquet, Arrow IPC, .tflite flatbuffers, encoded images."""

from __future__ import annotations

import gzip
import random
import struct
import zlib
from collections.abc import Iterator

from tests.campaigns.fuzz import protos, raw

# --- The index of a TensorFlow checkpoint: a LevelDB table of messages.

_MAGIC = bytes.fromhex("57fb808b247547db")
_FOOTER_BYTES = 48


def index(rng: random.Random, content: bytes) -> bytes:
    """The index with an entry changed and written again, or its bytes damaged near the footer."""
    kind = rng.random()
    if kind < 0.3:
        return raw.damage(rng, content)
    if kind < 0.5:
        at = len(content) - rng.choice((_FOOTER_BYTES, 80, 120))
        return content[:at] + raw.damage(rng, content[at:-8]) + content[-8:]
    entries = _entries(content)
    at = rng.randrange(len(entries))
    key, value = entries[at]
    what = rng.randrange(5)
    if what < 3:
        entries[at] = (key, protos.changed(rng, value))
    elif what == 3:
        entries[at] = (raw.text(rng).encode("utf-8", "surrogatepass"), value)
    else:
        entries[at:at] = [entries[at]] * rng.choice((1, 500))
    return _table(entries)


def _entries(content: bytes) -> list[tuple[bytes, bytes]]:
    from liteferry.commands.inspect import bundle_index

    return list(bundle_index._entries(content))


def _block(entries: list[tuple[bytes, bytes]]) -> bytes:
    rows = b"".join(b"\0" + protos.varint(len(key)) + protos.varint(len(value)) + key + value for key, value in entries)
    return rows + struct.pack("<II", 0, 1)


def _table(entries: list[tuple[bytes, bytes]]) -> bytes:
    data = _block(entries)
    handle = protos.varint(0) + protos.varint(len(data))
    listing = _block([(entries[-1][0], handle)])
    at = len(data) + 5
    footer = protos.varint(at) + protos.varint(0) + protos.varint(at) + protos.varint(len(listing))
    return data + b"\0" * 5 + listing + b"\0" * 5 + footer.ljust(_FOOTER_BYTES - 8, b"\0") + _MAGIC


# --- TFRecord


def _masked(content: bytes) -> int:
    import google_crc32c

    crc = google_crc32c.value(content)
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def frame(content: bytes, *, length: int | None = None) -> bytes:
    """A record with the checksums that it should have, also where its length is a lie."""
    head = struct.pack("<Q", (len(content) if length is None else length) & 2**64 - 1)
    return head + struct.pack("<I", _masked(head)) + content + struct.pack("<I", _masked(content))


def _frames(content: bytes) -> Iterator[bytes]:
    at = 0
    while at < len(content):
        (length,) = struct.unpack_from("<Q", content, at)
        yield content[at + 12 : at + 12 + length]
        at += length + 16


def tfrecord(rng: random.Random, content: bytes) -> bytes:
    """Records changed as messages, lengths that lie with the right checksum, gzip around it all."""
    plain = gzip.decompress(content) if content.startswith(b"\x1f\x8b") else content
    kind = rng.random()
    if kind < 0.15:
        made = raw.damage(rng, plain)
    else:
        records = list(_frames(plain))
        at = rng.randrange(len(records))
        what = rng.randrange(6)
        lie = None
        if what < 4:
            records[at] = protos.changed(rng, records[at])
        elif what == 4:
            lie = raw.integer(rng)
        else:
            records[at] = rng.choice((b"", b"\0" * 2**20, rng.randbytes(40)))
        made = b"".join(frame(record, length=lie if place == at else None) for place, record in enumerate(records))
    if content.startswith(b"\x1f\x8b") or rng.random() < 0.2:
        made = gzip.compress(made, 1, mtime=0)
        if rng.random() < 0.3:
            made = rng.choice((raw.damage(rng, made), made + made, made + b"\0" * 100, made[:-4]))
    return made


# --- Parquet and Arrow IPC


def parquet(rng: random.Random, content: bytes) -> bytes:
    """Damage to the footer, to page headers, or anywhere."""
    kind = rng.random()
    size = int.from_bytes(content[-8:-4], "little")
    if kind < 0.6 and size + 8 < len(content):
        start = len(content) - 8 - size
        footer = raw.damage(rng, content[start:-8])
        claimed = len(footer) if rng.random() < 0.9 else raw.integer(rng) & 2**32 - 1
        return content[:start] + footer + claimed.to_bytes(4, "little") + content[-4:]
    if kind < 0.8:
        return raw.damage_near(rng, content, (b"PAR1", b"\x15\x00\x15", b"\x15\x04\x15"))
    return raw.damage(rng, content)


def arrow(rng: random.Random, content: bytes) -> bytes:
    """Damage to the messages' flatbuffers, which begin with a marker, or anywhere."""
    if rng.random() < 0.6:
        return raw.damage_near(rng, content, (b"\xff\xff\xff\xff", b"ARROW1", b"\x10\x00\x00\x00"))
    return raw.damage(rng, content)


# --- .tflite


def tflite(rng: random.Random, content: bytes) -> bytes:
    """Offsets and counts changed in place, or the model taken apart and put together wrong."""
    kind = rng.random()
    if kind < 0.35:
        return raw.damage(rng, content)
    if kind < 0.7:
        made = bytearray(content)
        for _ in range(rng.choice((1, 1, 2, 4))):
            at = rng.randrange(8, len(made) - 4) & ~3
            old = int.from_bytes(made[at : at + 4], "little")
            new = rng.choice((raw.integer(rng), old + rng.choice((1, -1, 4, -4, 8, 64)), rng.randrange(len(made))))
            made[at : at + 4] = (new & 2**32 - 1).to_bytes(4, "little")
        return bytes(made)
    return _rebuilt(rng, content)


def _rebuilt(rng: random.Random, content: bytes) -> bytes:
    import flatbuffers

    from liteferry.tflite import flatbuffer

    schema = flatbuffer.schema_module()
    model = schema.ModelT.InitFromPackedBuf(content, 0)
    graph = model.subgraphs[0]
    tensor = rng.choice(graph.tensors)
    what = rng.randrange(12)
    small = raw.integer(rng) % 2**31 * rng.choice((1, 1, -1))
    if what == 0:
        tensor.name = raw.text(rng).encode("utf-8", "surrogatepass")
    elif what == 1:
        tensor.shape = [small, rng.choice((2**31 - 1, 1, -1, 0))]
    elif what == 2:
        tensor.buffer = small % 2**31
    elif what == 3:
        tensor.type = rng.randrange(-1, 30)
    elif what == 4 and model.signatureDefs:
        side = model.signatureDefs[0].inputs or model.signatureDefs[0].outputs
        if side:
            side[0].tensorIndex, side[0].name = small % 2**31, raw.text(rng).encode("utf-8", "replace")
    elif what == 5:
        rng.choice(graph.operators).inputs = [small]
    elif what == 6:
        rng.choice(graph.operators).opcodeIndex = small % 2**31
    elif what == 7:
        model.operatorCodes[0].builtinCode = rng.choice((raw.integer(rng) % 300, 32, -1))
        model.operatorCodes[0].customCode = raw.text(rng).encode("utf-8", "replace")
    elif what == 8:
        model.subgraphs = []
    elif what == 9:
        graph.inputs = [small]
    elif what == 10 and model.metadata:
        entry = rng.choice(model.metadata)
        entry.buffer = rng.choice((0, small % 2**31))
    else:
        from tests.campaigns.fuzz import values

        for entry in model.metadata or ():
            if entry.name == b"liteferry" and entry.buffer < len(model.buffers):
                text = bytes(model.buffers[entry.buffer].data)
                model.buffers[entry.buffer].data = list(values.json_text(rng, text)[:5000])
    builder = flatbuffers.Builder(len(content) + 4096)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


# --- Images


def image(rng: random.Random, content: bytes) -> bytes:
    """PNG chunks changed with the right checksum; other formats damaged."""
    if content.startswith(b"\x89PNG") and rng.random() < 0.7:
        return _png(rng, content)
    return raw.damage(rng, content)


def png_chunks(content: bytes) -> list[tuple[bytes, bytes]]:
    chunks, at = [], 8
    while at + 8 <= len(content):
        (size,) = struct.unpack_from(">I", content, at)
        chunks.append((content[at + 4 : at + 8], content[at + 8 : at + 8 + size]))
        at += size + 12
    return chunks


def png_of(chunks: list[tuple[bytes, bytes]]) -> bytes:
    parts = [b"\x89PNG\r\n\x1a\n"]
    for kind, content in chunks:
        parts.append(struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content)))
    return b"".join(parts)


def _png(rng: random.Random, content: bytes) -> bytes:
    chunks = png_chunks(content)
    at = rng.randrange(len(chunks))
    kind, inside = chunks[at]
    what = rng.randrange(6)
    if what < 2:
        head = bytearray(chunks[0][1])
        place = rng.choice((0, 4, 8, 9, 10, 12))
        width = 4 if place < 8 else 1
        head[place : place + width] = (raw.integer(rng) & (1 << 8 * width) - 1).to_bytes(width, "big")
        chunks[0] = (chunks[0][0], bytes(head))
    elif what == 2:
        chunks[at] = (kind, raw.damage(rng, inside))
    elif what == 3:
        extra = rng.choice((b"zTXt", b"iTXt", b"iCCP", b"tRNS", b"PLTE", b"acTL", b"eXIf"))
        chunks.insert(1, (extra, rng.choice((b"a\0\0" + zlib.compress(bytes(2**22)), raw.text(rng).encode("utf-8", "replace")))))
    elif what == 4:
        chunks[at:at] = [chunks[at]] * rng.choice((1, 500))
    else:
        del chunks[at]
    return png_of(chunks)


def image_of_size(width: int, height: int) -> bytes:
    """A grey PNG of zeros: some kilobytes for any size."""
    packer = zlib.compressobj(9)
    row, packed = bytes(width + 1), bytearray()
    for _ in range(height):
        packed += packer.compress(row)
    packed += packer.flush()
    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return png_of([(b"IHDR", head), (b"IDAT", bytes(packed)), (b"IEND", b"")])
