"""The compressions of stream loads, over the system's libraries: Python 3.11 has neither LZ4 nor Zstandard."""

import bz2
import ctypes
import ctypes.util
import gzip
import zlib

from starrocks_errors import LoadError

# StreamLoadAction's parse_format; all but csv and json are compressed CSV.
FORMATS = {
    "csv": None,
    "json": None,
    "gzip": "gzip",
    "bzip2": "bzip2",
    "lz4": "lz4_frame",
    "deflate": "deflate",
    "zstd": "zstd",
}
# What `compression` and `Content-Encoding` may say (CompressionUtils).
NAMES = {"gzip", "bzip2", "lz4_frame", "zstd", "deflate", "lz4"}


class Buffer(ctypes.Structure):
    _fields_ = [("data", ctypes.c_void_p), ("size", ctypes.c_size_t), ("position", ctypes.c_size_t)]


def decompress(name, body, limit):
    """LoadError where the body is not what `name` says, or more than `limit` bytes."""
    try:
        if name == "gzip":
            data = gzip.decompress(body)
        elif name == "bzip2":
            data = bz2.decompress(body)
        elif name == "deflate":
            data = zlib.decompress(body)
        elif name in ("lz4_frame", "lz4"):
            data = lz4_frame(body, limit)
        elif name == "zstd":
            data = zstd(body, limit)
        else:
            raise LoadError(f"Unsupported compression algorithm {name}")
    except (ValueError, OSError, EOFError, zlib.error) as error:
        raise LoadError(f"decompress failed: {error}") from None
    return data


def library(name):
    return ctypes.CDLL(ctypes.util.find_library(name) or f"lib{name}.so.1")


def lz4_frame(body, limit):
    lib = library("lz4")
    lib.LZ4F_isError.argtypes = lib.LZ4F_freeDecompressionContext.argtypes = [ctypes.c_size_t]
    lib.LZ4F_freeDecompressionContext.argtypes = [ctypes.c_void_p]
    lib.LZ4F_decompress.restype = ctypes.c_size_t
    lib.LZ4F_decompress.argtypes = [ctypes.c_void_p] * 2 + [
        ctypes.POINTER(ctypes.c_size_t),
        ctypes.c_void_p,
        ctypes.POINTER(ctypes.c_size_t),
        ctypes.c_void_p,
    ]
    context = ctypes.c_void_p()
    lib.LZ4F_createDecompressionContext(ctypes.byref(context), 100)
    source, output, parts, position, total = (
        ctypes.create_string_buffer(body, len(body)),
        ctypes.create_string_buffer(1 << 20),
        [],
        0,
        0,
    )
    hint = 1
    try:
        while position < len(body) or hint != 0:
            produced, consumed = ctypes.c_size_t(1 << 20), ctypes.c_size_t(len(body) - position)
            hint = lib.LZ4F_decompress(
                context, output, ctypes.byref(produced), ctypes.addressof(source) + position, ctypes.byref(consumed), None
            )
            if lib.LZ4F_isError(hint):
                raise ValueError("not an LZ4 frame")
            if not produced.value and not consumed.value and hint != 0:
                raise ValueError("the LZ4 frame ends too early")
            parts.append(output.raw[: produced.value])
            position, total = position + consumed.value, total + produced.value
            if total > limit:
                raise ValueError("too large")
    finally:
        lib.LZ4F_freeDecompressionContext(context)
    return b"".join(parts)


def zstd(body, limit):
    lib = library("zstd")
    lib.ZSTD_createDStream.restype = ctypes.c_void_p
    lib.ZSTD_freeDStream.argtypes = [ctypes.c_void_p]
    lib.ZSTD_decompressStream.restype = ctypes.c_size_t
    lib.ZSTD_decompressStream.argtypes = [ctypes.c_void_p, ctypes.POINTER(Buffer), ctypes.POINTER(Buffer)]
    lib.ZSTD_isError.argtypes = [ctypes.c_size_t]
    stream = lib.ZSTD_createDStream()
    source, output = ctypes.create_string_buffer(body, len(body)), ctypes.create_string_buffer(1 << 20)
    given, parts, total, hint = Buffer(ctypes.addressof(source), len(body), 0), [], 0, 1
    try:
        while given.position < given.size or hint != 0:
            taken, before = Buffer(ctypes.addressof(output), 1 << 20, 0), given.position
            hint = lib.ZSTD_decompressStream(stream, ctypes.byref(taken), ctypes.byref(given))
            if lib.ZSTD_isError(hint):
                raise ValueError("not a Zstandard frame")
            if not taken.position and given.position == before and hint != 0:
                raise ValueError("the Zstandard frame ends too early")
            parts.append(output.raw[: taken.position])
            total += taken.position
            if total > limit:
                raise ValueError("too large")
    finally:
        lib.ZSTD_freeDStream(stream)
    return b"".join(parts)
