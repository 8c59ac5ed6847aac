"""What our client costs beside the official SDK: both do the same, in turn, each in processes of its own."""

from __future__ import annotations

import json
import statistics
import sys

import processes
from bench import Bench, Numbers
from processes import HERE, ProcessError

GENERATION = "3.7.0"
SDK = HERE.parent / f".venvs/mistralai-{GENERATION}/bin/python"
CLIENTS = {"ours": (sys.executable, "causerie.client"), "sdk": (str(SDK), "mistralai.client")}
COSTS = ("call_cpu", "call_wall", "event_cpu", "paced_cpu")
_IMPORT = "import time; began = time.perf_counter(); {what}; print(time.perf_counter() - began)"


async def client(bench: Bench) -> Numbers:
    """Import both, then let each make calls and read streams of a server that has its answers ready.

    Raises:
        ProcessError: the environment with the SDK is not there, or a client failed.
    """
    numbers = _imports(bench.size(11, 5))
    with processes.canned() as port:
        for name, (interpreter, module) in CLIENTS.items():
            where = (f"http://127.0.0.1:{port}", str(bench.size(400, 200)), str(bench.size(3, 2)))
            told = json.loads(processes.run((interpreter, str(HERE / "probe.py"), module, *where), 60))
            numbers |= {f"{name}_{cost}": told[cost] for cost in COSTS}
    return numbers | {cost: numbers[f"sdk_{cost}"] / numbers[f"ours_{cost}"] for cost in ("import", *COSTS)}


def _imports(count: int) -> Numbers:
    if not SDK.exists():
        raise ProcessError(f"there is no {SDK}: make bench makes it")
    took: dict[str, list[float]] = {"ours_import": [], "sdk_import": [], "ours_ready": []}
    for _ in range(count):
        for name, (interpreter, module) in CLIENTS.items():
            code = _IMPORT.format(what=f"from {module} import Mistral")
            took[f"{name}_import"].append(float(processes.python(code, interpreter)[1]))
        ready = _IMPORT.format(what="from causerie.client import Mistral; import httpx2")
        took["ours_ready"].append(float(processes.python(ready)[1]))
    return {name: statistics.median(seconds) * 1000 for name, seconds in took.items()}
