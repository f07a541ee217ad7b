"""Reads `.wav` files: PCM of 8, 16, 24 and 32 bits and floats of 32 and 64, as the recorders, SciPy and soundfile write them.

Python's own `wave` knows PCM alone, and before 3.12 no extensible headers, which are usual beyond 16 bits.
"""

from __future__ import annotations

import dataclasses
import os
import struct
from typing import BinaryIO

import numpy as np

from liteferry.samples.formats.rows import mismatch

_PCM, _FLOAT, _EXTENSIBLE = 1, 3, 0xFFFE
_MOST_HEADER_BYTES = 2**16
_FIX = "convert it to 16-bit PCM, for example with `ffmpeg -i IN -c:a pcm_s16le OUT.wav`"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Sound:
    """The header of a file: `code` is 1 for PCM and 3 for floats, `bits` those of one value; the values lie in `size` bytes from
    `start` on.
    """

    code: int
    bits: int
    channels: int
    start: int
    size: int

    def shape(self) -> tuple[int, ...]:
        """(frames,) for mono, else (frames, channels)."""
        frames = self.size // (self.channels * self.bits // 8)
        return (frames,) if self.channels == 1 else (frames, self.channels)


def header_of(path: str) -> Sound:
    """The header of a file.

    Raises:
      SamplesError: SAMPLES_MISMATCH for a file that is no RIFF WAVE, is cut short, or is encoded in another way.
    """
    with open(path, "rb") as file:
        left = os.fstat(file.fileno()).st_size
        if file.read(4) != b"RIFF" or len(file.read(4)) < 4 or file.read(4) != b"WAVE":
            raise mismatch(f"{path}: is no .wav file (it does not begin with RIFF and WAVE); {_FIX}")
        told: tuple[int, int, int] | None = None
        while len(chunk := file.read(8)) == 8:
            name, size = chunk[:4], int.from_bytes(chunk[4:], "little")
            if name == b"fmt ":
                told = _format(path, file.read(min(size, _MOST_HEADER_BYTES)))
            elif name == b"data" and told is not None:
                start = file.tell()
                # Writers into a pipe do not know the size, and write 0 or the largest number.
                held = left - start if size in (0, 0xFFFFFFFF) else size
                if held > left - start:
                    raise mismatch(f"{path}: announces {held:,} bytes of sound and has {left - start:,}; copy it again")
                code, bits, channels = told
                frame = channels * bits // 8
                return Sound(code=code, bits=bits, channels=channels, start=start, size=held - held % frame)
            else:
                _skip(file, size)
    raise mismatch(f"{path}: is a .wav file without sound in it, or is cut short; copy it again")


def _skip(file: BinaryIO, size: int) -> None:
    file.seek(size + size % 2, os.SEEK_CUR)  # chunks begin at even places


def _format(path: str, content: bytes) -> tuple[int, int, int]:
    """(code, bits, channels) of a `fmt ` chunk."""
    if len(content) < 16:
        raise mismatch(f"{path}: its header is cut short; copy it again")
    code, channels, _, _, _, bits = struct.unpack_from("<HHIIHH", content)
    if code == _EXTENSIBLE and len(content) >= 26:
        code = int.from_bytes(content[24:26], "little")
    known = {_PCM: (8, 16, 24, 32), _FLOAT: (32, 64)}
    if code not in known or bits not in known[code] or not channels:
        kinds = {2: "ADPCM", 6: "A-law", 7: "mu-law", 0x11: "ADPCM", 0x55: "MP3"}
        raise mismatch(f"{path}: holds {kinds.get(code, f'format {code}')}, {bits} bits, {channels} channels; {_FIX}")
    return code, bits, channels


def samples_of(path: str) -> np.ndarray:
    """All values, float32: PCM divided by its largest value, as `tf.audio.decode_wav` does with 16 bits; (frames,) or (frames,
    channels).
    """
    sound = header_of(path)
    with open(path, "rb") as file:
        file.seek(sound.start)
        content = file.read(sound.size)
    if len(content) < sound.size:
        raise mismatch(f"{path}: is cut short; copy it again")
    return _values(content, sound).reshape(sound.shape())


def _values(content: bytes, sound: Sound) -> np.ndarray:
    if sound.code == _FLOAT:
        return np.frombuffer(content, f"<f{sound.bits // 8}").astype(np.float32)
    if sound.bits == 8:  # the only unsigned one
        return (np.frombuffer(content, np.uint8).astype(np.float32) - 128) / np.float32(128)
    if sound.bits == 24:
        wide = np.zeros((len(content) // 3, 4), np.uint8)
        wide[:, 1:] = np.frombuffer(content, np.uint8).reshape(-1, 3)
        return (wide.reshape(-1).view("<i4") / np.float64(2**31)).astype(np.float32)
    values = np.frombuffer(content, f"<i{sound.bits // 8}")
    return (values / np.float64(2 ** (sound.bits - 1))).astype(np.float32)
