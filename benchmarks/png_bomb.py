"""The cost of a decompression bomb: a PNG of 20,000 x 20,000 pixels (1.2 GB decoded) in 1.2 MB.

    python benchmarks/png_bomb.py

Each line is a fresh process (Linux), in which `decode_image` has read one small image before. The bar: below 50 ms
and 50 MB. The first line is a control: a black image that is small enough to be decoded.
"""

import argparse
import io
import json
import subprocess
import sys
import tempfile
import zlib
from pathlib import Path

from PIL import Image

SIDE, CONTROL_SIDE = 20_000, 4_000
MAX_MILLISECONDS, MAX_MEGABYTES = 50, 50

MEASURE = """
import io, json, re, sys, time
from pathlib import Path
from PIL import Image
from wenlan.processing import ImageDecodingError, decode_image
buffer = io.BytesIO()
Image.new("RGB", (9, 9)).save(buffer, "PNG")
decode_image(buffer.getvalue())
bomb = open(sys.argv[1], "rb").read() if sys.argv[2] == "bytes" else sys.argv[1]
def peak_kilobytes():
    return int(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text()).group(1))
Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew from what is in use
before, start = peak_kilobytes(), time.perf_counter()
try:
    decode_image(bomb)
    cause = "decoded"
except ImageDecodingError as error:
    cause = error.cause
seconds = time.perf_counter() - start
megabytes = (peak_kilobytes() - before) / 1024
print(json.dumps({"cause": cause, "milliseconds": 1000 * seconds, "megabytes": megabytes}))
"""


def write_bomb(path: Path, side: int = SIDE) -> None:
    """Write a valid black RGB PNG row by row, without ever holding its pixels."""
    buffer = io.BytesIO()
    Image.new("RGB", (1, 1)).save(buffer, "PNG")
    signature = buffer.getvalue()[:8]
    header = side.to_bytes(4) * 2 + bytes([8, 2, 0, 0, 0])  # 8 bits, RGB
    compressor = zlib.compressobj(9)
    rows = bytes(1 + 3 * side)  # a filter byte, then the pixels
    data = b"".join(compressor.compress(rows) for _ in range(side)) + compressor.flush()
    chunks = (b"IHDR" + header, b"IDAT" + data, b"IEND")
    encoded = [(len(chunk) - 4).to_bytes(4) + chunk + zlib.crc32(chunk).to_bytes(4) for chunk in chunks]
    path.write_bytes(signature + b"".join(encoded))


def measure(bomb: Path, source: str) -> dict:
    """Return cause, milliseconds and the growth of the peak memory of a fresh process."""
    command = [sys.executable, "-c", MEASURE, str(bomb), source]
    return json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def show(name: str, result: dict) -> None:
    """Print one measurement."""
    print(f"{name:12} {result['cause']}: {result['milliseconds']:.2f} ms, peak memory +{result['megabytes']:.2f} MB")


def main() -> None:
    """Print a line for the bomb as a path and as bytes, three times each; exit with 1 above a bar."""
    parser = argparse.ArgumentParser(description="Measure what refusing a decompression bomb costs.")
    parser.add_argument("--runs", type=int, default=3)
    runs = parser.parse_args().runs
    with tempfile.TemporaryDirectory() as folder:
        bomb = Path(folder) / "bomb.png"
        write_bomb(bomb)
        print(f"{SIDE} x {SIDE} RGB PNG of {bomb.stat().st_size / 1e6:.1f} MB")
        control = Path(folder) / "control.png"
        write_bomb(control, CONTROL_SIDE)
        show(f"{CONTROL_SIDE} x {CONTROL_SIDE}", measure(control, "path"))
        results = [(source, measure(bomb, source)) for source in ("path", "bytes") for _ in range(runs)]
    for source, result in results:
        print(
            f"{source:6} {result['cause']}: {result['milliseconds']:.2f} ms, peak memory +{result['megabytes']:.2f} MB"
        )
    good = all(
        r["cause"] == "too large" and r["milliseconds"] < MAX_MILLISECONDS and r["megabytes"] < MAX_MEGABYTES
        for _, r in results
    )
    print(f"Bar of {MAX_MILLISECONDS} ms and {MAX_MEGABYTES} MB: {'held' if good else 'MISSED'}")
    sys.exit(not good)


if __name__ == "__main__":
    main()
