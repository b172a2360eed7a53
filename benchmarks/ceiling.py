"""The most arithmetic one core can do: a loop of fused multiply-adds that touches no memory.

The C below is compiled where it runs (`cc -O3 -march=native`), so that the widest vectors of the
machine are used. Without a compiler the fastest convolution stands in (`core.machine.ceilings`).
"""

from __future__ import annotations

import ctypes
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

SOURCE = r"""
#if defined(__AVX512BF16__)
#include <immintrin.h>
#endif
#if defined(__AVX512F__)
#define BYTES 64
#define CHAINS 16
#elif defined(__AVX__)
#define BYTES 32
#define CHAINS 12
#else
#define BYTES 16
#define CHAINS 12
#endif
typedef float vector __attribute__((vector_size(BYTES)));

/* every chain waits only for itself; returns the operations made, a multiply-add being two */
double fp32(long rounds, float *sink) {
    vector a[CHAINS];
    vector scale = (vector){} + sink[0], shift = (vector){} + sink[1];
    for (int i = 0; i < CHAINS; i++) a[i] = (vector){} + (float)i;
    for (long r = 0; r < rounds; r++)
        _Pragma("GCC unroll 16")
        for (int i = 0; i < CHAINS; i++) a[i] = a[i] * scale + shift;
    float sum = 0;
    for (int i = 0; i < CHAINS; i++) sum += a[i][0];
    sink[2] = sum;
    return 2.0 * rounds * CHAINS * (BYTES / sizeof(float));
}

double bf16(long rounds, float *sink) {
#if defined(__AVX512BF16__)
    __m512 a[16];
    __m512bh x = (__m512bh)_mm512_set1_ps(sink[0]), y = (__m512bh)_mm512_set1_ps(sink[1]);
    for (int i = 0; i < 16; i++) a[i] = _mm512_set1_ps((float)i);
    for (long r = 0; r < rounds; r++)
        _Pragma("GCC unroll 16")
        for (int i = 0; i < 16; i++) a[i] = _mm512_dpbf16_ps(a[i], x, y);
    float sum = 0;
    for (int i = 0; i < 16; i++) sum += a[i][0];
    sink[2] = sum;
    return 2.0 * rounds * 16 * 32;
#else
    return 0.0;
#endif
}
"""


def ceilings(repeats: int = 7) -> tuple[dict[str, float], str]:
    """Return GFLOP/s of one core by precision (CPU time, best of some), and how they were found."""
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        return _convolution(), "no C compiler: the fastest convolution instead"
    with tempfile.TemporaryDirectory() as folder:
        source, library = Path(folder, "fma.c"), Path(folder, "fma.so")
        source.write_text(SOURCE, encoding="ascii")
        command = [compiler, "-O3", "-march=native", "-shared", "-fPIC", "-o", library, source]
        built = subprocess.run(command, capture_output=True, text=True, check=False)
        if built.returncode:
            return _convolution(), "the C compiler failed: the fastest convolution instead"
        loaded = ctypes.CDLL(str(library))
    found = {}
    for name in ("fp32", "bf16"):
        loop = getattr(loaded, name)
        loop.restype = ctypes.c_double
        loop.argtypes = [ctypes.c_long, ctypes.POINTER(ctypes.c_float)]
        rate = max(_rate(loop) for _ in range(repeats))
        if rate:
            found[name] = rate
    return found, "register multiply-add loop in C"


def _rate(loop: ctypes._FuncPointer) -> float:
    sink = (ctypes.c_float * 3)(0.5, 0.25, 0.0)
    start = time.process_time()
    done = float(loop(20_000_000, sink)) / 1e9
    return done / (time.process_time() - start)


def _convolution() -> dict[str, float]:
    from augmint.core.machine import ceilings

    found = ceilings()
    return {"fp32": found["fp32_gflops"], "bf16": found["bf16_gflops"]}


if __name__ == "__main__":
    print(*ceilings())
