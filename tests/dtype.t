#!/bin/sh
# Conversions of element types, against NumPy and against nearest values looked up in a list of all values.
. "$(dirname "$0")/lib.sh"
need_python
"$PYTHON" - <<'END'
import os, subprocess
import numpy as np

count = 0


def check(name, got, want):
    """Equal bits, any NaN for a NaN."""
    global count
    count += 1
    same = (got == want) & (np.signbit(got) == np.signbit(want)) | (np.isnan(got) & np.isnan(want))
    print("ok" if same.all() else "not ok", count, "-", name)
    if not same.all():
        i = int(np.argmin(same))
        print(f"# {(~same).sum()} differ; first at {i}: {got[i]!r}, wanted {want[i]!r}")


def run(*args, data):
    program = os.environ["UNIT"] + "/dtype"
    return subprocess.run([program, *args], input=data.tobytes(), stdout=subprocess.PIPE, check=True).stdout


def small_values(mantissa, bias, bits, e4m3):
    """The value of every code of a small format, by its definition."""
    code = np.arange(1 << bits)
    sign = np.where(code >> (bits - 1), -1.0, 1.0)
    field = (code >> mantissa) & ((1 << (bits - 1 - mantissa)) - 1)
    part = code & ((1 << mantissa) - 1)
    value = np.where(field == 0, part * 2.0 ** (1 - bias - mantissa),
                     (1 + part / 2.0 ** mantissa) * 2.0 ** (field - float(bias)))
    top = field == field.max()
    if e4m3:
        value = np.where(top & (part == 7), np.nan, value)
    else:
        value = np.where(top, np.where(part == 0, np.inf, np.nan), value)
    return sign * value


FORMATS = {
    "bf16": (np.uint16, small_values(7, 127, 16, False)),
    "f16": (np.uint16, small_values(10, 15, 16, False)),
    "f8e4m3": (np.uint8, small_values(3, 7, 8, True)),
}


def nearest(values, x):
    """Rounds float64 x to the nearest of the values, ties to the even code; above half a step over the largest: overflow."""
    half = len(values) // 2
    table = values[:half][np.isfinite(values[:half])]           # codes 0.. in rising order
    middle = (table[:-1] + table[1:]) / 2                       # exact: one bit more than the format
    a = np.abs(x)
    i = np.searchsorted(middle, a, side="left")                 # a tie stays with the lower code
    tie = (i < len(middle)) & (middle[np.minimum(i, len(middle) - 1)] == a)
    i = i + (tie & (i % 2 == 1))
    limit = table[-1] + (table[-1] - table[-2]) / 2
    over = a > limit if np.isnan(values[half - 1]) and len(values) == 256 else a >= limit
    r = np.where(over, values[len(table)], table[i])
    return np.where(np.isnan(x), np.nan, np.copysign(r, x))


rng = np.random.default_rng(1)
bits32 = np.concatenate([rng.integers(0, 1 << 32, 1 << 20, dtype=np.uint64).astype(np.uint32),
                         np.arange(0, 1 << 32, 65521, dtype=np.uint64).astype(np.uint32)])
random32 = bits32.view(np.float32)
specials = np.array([0, -0.0, np.inf, -np.inf, np.nan, 448, 464, 464.0001, 465, 480, -464, 65504, 65519.99, 65520, 3.39e38,
                     2.0 ** -149, 2.0 ** -133, 2.0 ** -134, 1.5 * 2.0 ** -134, 2.0 ** -24, 2.0 ** -25, 1.5 * 2.0 ** -25,
                     2.0 ** -9, 2.0 ** -10, 3 * 2.0 ** -10, 5e-324, 1e308, -1e308])
with np.errstate(all="ignore"):
    for name, (code, values) in FORMATS.items():
        every = np.arange(len(values)).astype(code)
        wide = np.frombuffer(run("convert", name, "f32", data=every), np.float32)
        check(f"{name} to f32, every code", wide.astype(np.float64), values)
        wide = np.frombuffer(run("convert", name, "f64", data=every), np.float64)
        check(f"{name} to f64, every code", wide, values)
        # every value, every middle between two, and their neighbours
        finite = np.sort(values[np.isfinite(values)])
        middle = (finite[:-1] + finite[1:]) / 2
        edges = np.concatenate([finite, middle])
        x32 = np.concatenate([random32, specials.astype(np.float32)] +
                             [np.nextafter(edges.astype(np.float32), np.float32(to)) for to in (-np.inf, np.inf)] +
                             [edges.astype(np.float32)])
        x64 = np.concatenate([random32.astype(np.float64), specials, edges, np.nextafter(edges, np.inf),
                              np.nextafter(edges, -np.inf), rng.standard_normal(1 << 18) * 2.0 ** rng.integers(-30, 20, 1 << 18)])
        for source, x in (("f32", x32), ("f64", x64)):
            got = np.frombuffer(run("convert", source, name, data=x), code)
            check(f"{source} to {name}", values[got], nearest(values, x.astype(np.float64)))
            got = np.frombuffer(run("round", source, name, data=x), x.dtype)
            check(f"{source} rounded to {name}", got.astype(np.float64), nearest(values, x.astype(np.float64)))
        for other, (other_code, other_values) in FORMATS.items():
            got = np.frombuffer(run("convert", name, other, data=every), other_code)
            want = values if other == name else nearest(other_values, values)
            check(f"{name} to {other}, every code", other_values[got], want)
    x = np.concatenate([random32, specials.astype(np.float32)])
    got = np.frombuffer(run("convert", "f32", "f16", data=x), np.float16)
    check("f32 to f16 as NumPy does", got, x.astype(np.float16))
    x = np.concatenate([specials, rng.standard_normal(4096) * 1e3, rng.integers(0, 1 << 63, 1 << 18).view(np.float64)])
    got = np.frombuffer(run("convert", "f64", "f32", data=x), np.float32)
    check("f64 to f32", got, x.astype(np.float32))
    got = np.frombuffer(run("convert", "f32", "f64", data=random32), np.float64)
    check("f32 to f64", got, random32.astype(np.float64))
    for name, code in (("i32", np.int32), ("u32", np.uint32), ("u8", np.uint8)):
        info = np.iinfo(code)
        y = np.concatenate([x, [0.5, 1.5, 2.5, -0.5, 254.5, 255.5, info.max, info.max + 0.5, info.min - 1.0]])
        got = np.frombuffer(run("convert", "f64", name, data=y), code)
        check(f"f64 to {name}", got, np.clip(np.rint(np.nan_to_num(y, posinf=1e300, neginf=-1e300)), info.min,
                                             info.max).astype(np.int64).astype(code))
        n = rng.integers(info.min, info.max + 1, 4096, dtype=np.int64).astype(code)
        for wide, kind in (("f32", np.float32), ("f64", np.float64)):
            got = np.frombuffer(run("convert", name, wide, data=n), kind)
            check(f"{name} to {wide}", got, n.astype(kind))
print(f"1..{count}")
END
