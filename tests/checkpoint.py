"""Safetensors and config.json for the tests: read to float64, written from float64.  NumPy only."""
import json
import os
import struct

import numpy as np

WIDTH = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "I64": 8, "BOOL": 1}


def bf16_bits(x):
    """float64 -> bf16 bits, to nearest even.  Through float32: both roundings agree on our inputs,
    which have at most 24 significant bits."""
    bits = np.asarray(x, np.float32).view(np.uint32).astype(np.uint64)
    return ((bits + 0x7FFF + (bits >> 16 & 1)) >> 16).astype(np.uint16)


def bf16_value(bits):
    return (bits.astype(np.uint32) << 16).view(np.float32)


def encode(x, dtype):
    if dtype == "BF16":
        return bf16_bits(x).tobytes()
    return np.asarray(x, {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BOOL": "?"}[dtype]).tobytes()


def decode(raw, dtype):
    if dtype == "BF16":
        return bf16_value(np.frombuffer(raw, "<u2"))
    kind = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "I64": "<i8", "BOOL": "?"}[dtype]
    return np.frombuffer(raw, kind)


def write_safetensors(path, tensors):
    """tensors: {name: (shape, dtype, bytes or a function that returns them)}."""
    header, at = {}, 0
    for name, (shape, dtype, _) in tensors.items():
        size = int(np.prod(shape, dtype=np.int64)) * WIDTH[dtype]
        header[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [at, at + size]}
        at += size
    head = json.dumps(header, separators=(",", ":")).encode()
    head += b" " * (-len(head) % 8)
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(head)) + head)
        for _, _, data in tensors.values():
            f.write(data() if callable(data) else data)


def write_model(path, config, tensors, shards=1):
    os.makedirs(path, exist_ok=True)
    with open(os.path.join(path, "config.json"), "w") as f:
        json.dump(config, f, indent=2)
        f.write("\n")
    if shards == 1:
        write_safetensors(os.path.join(path, "model.safetensors"), tensors)
        return
    names = list(tensors)
    weight_map = {}
    for i in range(shards):
        part = names[i * len(names) // shards:(i + 1) * len(names) // shards]
        file = f"model-{i + 1:05}-of-{shards:05}.safetensors"
        weight_map.update((name, file) for name in part)
        write_safetensors(os.path.join(path, file), {name: tensors[name] for name in part})
    with open(os.path.join(path, "model.safetensors.index.json"), "w") as f:
        json.dump({"metadata": {}, "weight_map": weight_map}, f, indent=1)
        f.write("\n")


class Checkpoint:
    """config, and tensors in float64 by name; a base prefix may be there or not."""

    def __init__(self, path):
        with open(os.path.join(path, "config.json")) as f:
            self.config = json.load(f)
        self.places = {}
        for file in sorted(os.listdir(path)):
            if not file.endswith(".safetensors"):
                continue
            file = os.path.join(path, file)
            with open(file, "rb") as f:
                n = struct.unpack("<Q", f.read(8))[0]
                for name, entry in json.loads(f.read(n)).items():
                    if name != "__metadata__":
                        self.places[name] = (file, 8 + n, entry)

    def find(self, name):
        for prefix in ("", "model.", "transformer.", "gpt_neox.", "language_model.model."):
            if prefix + name in self.places:
                return prefix + name
        return None

    def get(self, name, missing=False):
        found = self.find(name)
        if found is None:
            if missing:
                return None
            raise KeyError(name)
        file, base, entry = self.places[found]
        begin, end = entry["data_offsets"]
        with open(file, "rb") as f:
            f.seek(base + begin)
            raw = f.read(end - begin)
        return decode(raw, entry["dtype"]).astype(np.float64).reshape(entry["shape"])

    def dtype(self):
        """That of the layers' weights, as f32, f16 or bf16."""
        sizes = {}
        for name, (_, _, entry) in self.places.items():
            if len(entry["shape"]) == 2:
                sizes[entry["dtype"]] = sizes.get(entry["dtype"], 0) + np.prod(entry["shape"])
        return max(sizes, key=sizes.get).lower()
