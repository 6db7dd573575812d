"""Reads and writes tensor streams as tms(5) describes them.  One file to take along: Python 3.8 or
later, NumPy, msgpack and xxhash; zstandard only for streams that are compressed.

    from onelayer_tms import Reader, Writer, filter_stdin

    with Reader("acts.tms") as stream:          # or "-" for standard input
        for frame in stream:
            for sample, rows in frame.per_sample():
                print(frame.site, frame.layer, sample["id"], rows.shape)

    with Writer("out.tms", {"kind": "acts"}) as out:
        out.write(Frame(site="resid_post", layer=3, rows=rows,
                        samples=[{"id": "a", "seq": 0, "len": 5, "first": 0, "n": 5}]))

    for frame in filter_stdin():                # as a command of layer-run --filter
        frame.rows = frame.f32() * 2            # written back in the dtype it came in
"""

import os
import stat
import struct
import sys

import msgpack
import numpy as np
import xxhash

KINDS = ("tokens", "resid", "acts", "vectors", "state", "logits")
ROWS_LIMIT = 1 << 30
MAP_LIMIT = 16 << 20

# bf16 and f8e4m3 have no NumPy type: they are held as their bits.
DTYPES = {
    "f32": np.dtype("<f4"), "f64": np.dtype("<f8"), "f16": np.dtype("<f2"),
    "bf16": np.dtype("<u2"), "f8e4m3": np.dtype("u1"),
    "i32": np.dtype("<i4"), "u32": np.dtype("<u4"), "u8": np.dtype("u1"),
}
NATURAL = {np.dtype("<f4"): "f32", np.dtype("<f8"): "f64", np.dtype("<f2"): "f16",
           np.dtype("<i4"): "i32", np.dtype("<u4"): "u32", np.dtype("u1"): "u8"}


class StreamError(Exception):
    pass


def bf16_to_f32(bits):
    return (bits.astype(np.uint32) << 16).view(np.float32)


def f32_to_bf16(values):
    """Rounds to nearest, ties to even; NaN stays NaN."""
    bits = np.ascontiguousarray(values, np.float32).view(np.uint32)
    rounded = ((bits.astype(np.uint64) + 0x7FFF + (bits >> 16 & 1)) >> 16).astype(np.uint16)
    return np.where((bits & 0x7FFFFFFF) > 0x7F800000, (bits >> 16 | 0x40).astype(np.uint16), rounded)


def f8e4m3_to_f32(bits):
    b = np.arange(256)
    exponent, mantissa = b >> 3 & 15, b & 7
    table = np.where(exponent == 0, mantissa * 2.0 ** -9, (8 + mantissa) * 2.0 ** (exponent - 10.0))
    table[b & 0x7F == 0x7F] = np.nan
    return np.where(b & 0x80, -table, table).astype(np.float32)[bits]


class Frame:
    """What one frame holds.  rows has the shape (rows, *shape), or is None in a stream of tokens; a frame with
    a name and no samples holds one row, the array of that name.  Keys that tms(5) doesn't know are in extra."""

    def __init__(self, site=None, layer=None, rows=None, dtype=None, variant=None, pool=None, name=None,
                 samples=(), extra=None):
        self.site, self.layer, self.variant = site, layer, variant
        self.pool, self.name = pool, name
        self.samples = list(samples)
        self.extra = dict(extra or {})
        self.rows = rows
        self.dtype = dtype
        if dtype is None and rows is not None:
            self.dtype = NATURAL[rows.dtype]

    def f32(self):
        """The rows as float32; float64 from f64."""
        if self.dtype == "bf16" and self.rows.dtype == np.uint16:
            return bf16_to_f32(self.rows)
        if self.dtype == "f8e4m3" and self.rows.dtype == np.uint8:
            return f8e4m3_to_f32(self.rows)
        return self.rows if self.dtype == "f64" else self.rows.astype(np.float32)

    def stored_rows(self):
        """The rows in the type that dtype says."""
        kept = DTYPES[self.dtype]
        if self.rows.dtype.kind == "f" and self.dtype == "bf16":
            return f32_to_bf16(self.rows)
        if self.rows.dtype.kind == "f" and self.dtype == "f8e4m3":
            raise StreamError("rows can't be rounded to f8e4m3 here; give their bits")
        return np.ascontiguousarray(self.rows, kept)

    def count(self, sample):
        """Rows of one sample."""
        n = sample.get("n", 0)
        return int(n > 0) if self.pool is not None else n

    def per_sample(self):
        """Pairs of a sample and its rows as float32 (or float64), a view of shape (rows, *shape)."""
        rows = self.f32() if self.rows is not None else None
        at = 0
        for sample in self.samples:
            n = self.count(sample) if rows is not None else 0
            yield sample, (rows[at:at + n] if rows is not None else None)
            at += n

    @staticmethod
    def tokens(sample):
        """The sample's token ids, or None."""
        return np.frombuffer(sample["tokens"], "<u4") if "tokens" in sample else None


def _unpack_map(data):
    def pairs(items):
        d = dict(items)
        if len(d) != len(items):
            raise StreamError("a map has a key twice")
        return d
    return msgpack.unpackb(data, object_pairs_hook=pairs, raw=False, strict_map_key=False,
                           unicode_errors="surrogateescape")


# What damaged bytes may make of the code below.
_DAMAGE = (StreamError, ValueError, KeyError, TypeError, AttributeError, IndexError, OverflowError,
           MemoryError, msgpack.exceptions.UnpackException)


class _Source:
    """Bytes of a file; how far it was read, and the checksum of all but the rows."""

    def __init__(self, file):
        self.file, self.at, self.sum = file, 0, xxhash.xxh3_64()

    def take(self, n, summed=True):
        parts, left = [], n
        while left:
            part = self.file.read(left)
            if not part:
                raise StreamError("the stream is cut at byte %d" % self.at)
            parts.append(part)
            left -= len(part)
            self.at += len(part)
        data = b"".join(parts)
        if summed:
            self.sum.update(data)
        return data

    # The head of a MessagePack value: how many bytes of length, count or number follow its first byte.
    _FOLLOW = {0xC4: 1, 0xC5: 2, 0xC6: 4, 0xC7: 2, 0xC8: 3, 0xC9: 5, 0xCA: 4, 0xCB: 8, 0xCC: 1, 0xCD: 2,
               0xCE: 4, 0xCF: 8, 0xD0: 1, 0xD1: 2, 0xD2: 4, 0xD3: 8, 0xD4: 2, 0xD5: 3, 0xD6: 5, 0xD7: 9,
               0xD8: 17, 0xD9: 1, 0xDA: 2, 0xDB: 4, 0xDC: 2, 0xDD: 4, 0xDE: 2, 0xDF: 4}

    def value(self, first=b""):
        """The bytes of one whole value."""
        out, size, left = bytearray(), 0, 1
        while left:
            head = first or self.take(1)
            first, c, left = b"", head[0], left - 1
            more = self.take(self._FOLLOW.get(c, 0))
            skip = 0
            if 0x80 <= c < 0x90:
                left += 2 * (c & 15)
            elif 0x90 <= c < 0xA0:
                left += c & 15
            elif 0xA0 <= c < 0xC0:
                skip = c & 31
            elif c in (0xC4, 0xC5, 0xC6, 0xD9, 0xDA, 0xDB):
                skip = int.from_bytes(more, "big")
            elif c in (0xC7, 0xC8, 0xC9):
                skip = int.from_bytes(more[:-1], "big")
            elif c in (0xDC, 0xDD):
                left += int.from_bytes(more, "big")
            elif c in (0xDE, 0xDF):
                left += 2 * int.from_bytes(more, "big")
            elif c == 0xC1:
                raise StreamError("damaged at byte %d" % self.at)
            size += 1 + len(more) + skip
            if size + left > MAP_LIMIT:
                raise StreamError("a map of more than 16 MiB ends at or after byte %d" % self.at)
            out += head + more + self.take(skip)
        return bytes(out)

    def bin_length(self, limit):
        head = self.take(1)[0]
        if head not in (0xC4, 0xC5, 0xC6):
            raise StreamError("no bin at byte %d: the stream is damaged" % (self.at - 1))
        n = int.from_bytes(self.take(1 << (head - 0xC4)), "big")
        if n > limit:
            raise StreamError("a bin of %d bytes at byte %d" % (n, self.at))
        return n


class Reader:
    """Iterates over the frames of a file, "-" (standard input) or a binary file object.  After the last one the
    trailer has been checked; until then nothing that was read is proved complete."""

    def __init__(self, file="-"):
        self._own = isinstance(file, (str, os.PathLike)) and file != "-"
        self.name = "<stdin>" if file == "-" else str(getattr(file, "name", file))
        if file == "-":
            # A buffered reader would wait for a whole buffer; a raw one takes what there is.
            file = open(0, "rb", closefd=False)
        self._file = open(file, "rb") if self._own else file
        self._src = _Source(self._file)
        self.n_frames = self.n_rows = 0
        self._layer = -1
        try:
            first = self._src.take(1)
            data = self._src.value(first)
            self.header = _unpack_map(data)
            if not isinstance(self.header, dict) or next(iter(self.header), None) != "tms":
                raise ValueError
        except _DAMAGE:
            raise StreamError("%s: is not a whole tensor stream" % self.name) from None
        if self.header["tms"] != 1:
            raise StreamError("%s: version %r, where 1 is known" % (self.name, self.header["tms"]))
        if self.header.get("kind") not in KINDS:
            raise StreamError("%s: unknown kind %r" % (self.name, self.header.get("kind")))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        if self._own:
            self._file.close()

    def __iter__(self):
        while True:
            at = self._src.at
            try:
                frame = self._next()
            except _DAMAGE as why:
                raise StreamError("%s: frame %d at byte %d: %s"
                                  % (self.name, self.n_frames + 1, at, why)) from None
            if frame is None:
                return
            yield frame

    def _next(self):
        src = self._src
        sum_before = src.sum.intdigest()
        first = src.take(1)
        if first == b"\x81":
            self._trailer(sum_before)
            return None
        if first != b"\x93":
            raise StreamError("neither a frame nor the trailer")
        meta = _unpack_map(src.value())
        if not isinstance(meta, dict):
            raise StreamError("the meta is no map")
        if any(src.take(src.bin_length(63))):
            raise StreamError("the pad is not all zeros")
        stored_len = src.bin_length(ROWS_LIMIT)
        if stored_len and src.at % 64:
            raise StreamError("the rows are not aligned")
        stored = src.take(stored_len, summed=False)
        return self._frame(meta, stored)

    def _frame(self, meta, stored):
        known = {k: meta.pop(k, None) for k in ("site", "layer", "dtype", "shape", "variant", "pool", "name",
                                                "zstd", "sum")}
        samples = meta.pop("samples", [])
        for s in samples:
            if s.get("first", 0) + s.get("n", 0) > s["len"] or len(s.get("tokens", b"")) not in (0, 4 * s["len"]):
                raise StreamError("sample %r contradicts its length" % s.get("id"))
        frame = Frame(known["site"], known["layer"], None, known["dtype"], known["variant"], known["pool"],
                      known["name"], samples, meta)
        if known["layer"] is not None:
            if known["layer"] < self._layer and self.header.get("order") == "layer":
                raise StreamError("layer %d after layer %d" % (known["layer"], self._layer))
            self._layer = known["layer"]
        n = 0
        if frame.dtype is not None:
            if frame.dtype not in DTYPES:
                raise StreamError("unknown dtype %r" % frame.dtype)
            if xxhash.xxh3_64_intdigest(stored) != known["sum"]:
                raise StreamError("the rows' checksum is wrong")
            n = sum(map(frame.count, samples)) if samples else int(frame.name is not None)
            shape = (n, *known["shape"])
            size = int(np.prod(shape, dtype=object)) * DTYPES[frame.dtype].itemsize
            if known["zstd"] is not None:
                stored = _unzstd(stored, known["zstd"])
            if len(stored) != size:
                raise StreamError("%d bytes of rows where %d are due" % (len(stored), size))
            frame.rows = np.frombuffer(stored, DTYPES[frame.dtype]).reshape(shape)
        elif stored:
            raise StreamError("rows without a dtype")
        self.n_frames += 1
        self.n_rows += n
        return frame

    def _trailer(self, expected):
        rest = self._src.take(30, summed=False)
        if rest[:6] != b"\xa3end\xc4\x18":
            raise StreamError("the trailer is damaged")
        if struct.unpack("<3Q", rest[6:]) != (self.n_frames, self.n_rows, expected):
            raise StreamError("the trailer's counts or checksum don't fit what was read")
        if self._file.read(1):
            raise StreamError("bytes follow the trailer: tcat, not cat, joins streams")


def _unzstd(stored, size):
    try:
        import zstandard
    except ImportError:
        raise StreamError("the rows are compressed and Python's zstandard is not installed; "
                          "tcat without --zstd writes them plain") from None
    return zstandard.ZstdDecompressor().decompress(stored, max_output_size=size)


class Writer:
    """Writes a stream to a file, "-" (standard output) or a binary file object.  The trailer is written by
    close(), or at the end of a with block that raised nothing; a named file appears only then."""

    def __init__(self, file, header):
        self.header = {"tms": 1, **{k: v for k, v in header.items() if k != "tms"}}
        self.header.setdefault("order", "any")
        if self.header.get("kind") not in KINDS:
            raise StreamError("unknown kind %r" % self.header.get("kind"))
        self._final = self._temporary = None
        if file == "-":
            self._file = open(1, "wb", buffering=0, closefd=False)
        elif isinstance(file, (str, os.PathLike)):
            regular = not os.path.exists(file) or stat.S_ISREG(os.stat(file).st_mode)
            self._final = os.fspath(file) if regular else None
            self._temporary = "%s.%d.tmp" % (self._final, os.getpid()) if regular else None
            self._file = open(self._temporary or file, "wb")
        else:
            self._file = file
        self._mine = file == "-" or isinstance(file, (str, os.PathLike))
        self._sum, self._at = xxhash.xxh3_64(), 0
        self.n_frames = self.n_rows = 0
        self._put(self._pack(self.header))

    @staticmethod
    def _pack(value):
        return msgpack.packb(value, use_bin_type=True, unicode_errors="surrogateescape")

    def _put(self, data, summed=True):
        if summed:
            self._sum.update(data)
        self._at += len(data)
        view = memoryview(data)
        while view:
            view = view[self._file.write(view):]

    def write(self, frame):
        meta, rows, n = {}, b"", 0
        for key in ("site", "layer"):
            if getattr(frame, key) is not None:
                meta[key] = getattr(frame, key)
        if frame.rows is not None:
            kept = frame.stored_rows()
            n, rows = kept.shape[0], kept.tobytes()
            meta["dtype"], meta["shape"] = frame.dtype, list(kept.shape[1:])
            due = sum(map(frame.count, frame.samples)) if frame.samples else int(frame.name is not None)
            if n != due:
                raise StreamError("%d rows where the samples make %d" % (n, due))
        for key in ("variant", "pool", "name"):
            if getattr(frame, key) is not None:
                meta[key] = getattr(frame, key)
        if frame.rows is not None:
            meta["sum"] = xxhash.xxh3_64_intdigest(rows)
        if frame.samples or frame.name is None:
            meta["samples"] = frame.samples
        meta.update(frame.extra)
        packed = b"\x93" + self._pack(meta)
        n_head = 2 if len(rows) < 256 else 3 if len(rows) < 65536 else 5
        pad = -(self._at + len(packed) + 2 + n_head) % 64 if rows else 0
        head = {2: b"\xc4", 3: b"\xc5", 5: b"\xc6"}[n_head] + len(rows).to_bytes(n_head - 1, "big")
        self._put(packed + b"\xc4" + bytes([pad]) + bytes(pad) + head)
        self._put(rows, summed=False)
        self._file.flush()
        self.n_frames += 1
        self.n_rows += n

    def close(self):
        self._put(b"\x81\xa3end\xc4\x18" + struct.pack("<3Q", self.n_frames, self.n_rows, self._sum.intdigest()),
                  summed=False)
        self._file.flush()
        if self._final is not None:
            os.fsync(self._file.fileno())
        if self._mine:
            self._file.close()
        if self._final is not None:
            os.replace(self._temporary, self._final)

    def abort(self):
        if self._mine:
            self._file.close()
        if self._temporary is not None and os.path.exists(self._temporary):
            os.unlink(self._temporary)

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        if kind is None:
            self.close()
        else:
            self.abort()


def filter_stdin(stdin="-", stdout="-"):
    """Frames of standard input, each written to standard output when the next is asked for.  Change frame.rows in
    the loop's body; samples and shape stay, and rows go back in the dtype they came in.  The history gets the
    script's name."""
    reader = Reader(stdin)
    script = os.path.basename(sys.argv[0])
    program = "python" if script in ("", "-", "-c") else script
    header = dict(reader.header)
    order = header.pop("order", "any")
    header["history"] = [*header.get("history", []), {"program": program}]
    with Writer(stdout, {**header, "order": order}) as out:
        for frame in reader:
            yield frame
            out.write(frame)


if __name__ == "__main__":
    for path in sys.argv[1:] or ["-"]:
        with Reader(path) as stream:
            for f in stream:
                print(f.site, f.layer, f.dtype, None if f.rows is None else f.rows.shape, len(f.samples), sep="\t")
