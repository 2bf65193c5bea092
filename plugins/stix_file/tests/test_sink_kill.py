"""Mode `run` in a process that is killed for real."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

DRIVER = """
import asyncio, os, signal, sys
from pathlib import Path
from tiforge import Batch, Context, Record
from tiforge_stix_file.settings import StixFileSinkSettings
from tiforge_stix_file.sink import StixFileSink

def records(seqs):
    return [Record(f"x--{seq}", "x", "1", b'{"type":"x","n":%d}' % seq) for seq in seqs]

async def run(path, offset):
    settings = StixFileSinkSettings(type="stix_file", path=path, max_size=60)
    async with StixFileSink(settings, Context("killed")) as sink:
        for seq in range(1, 8):
            if seq > int(offset.read_text() or 0):
                await sink.deliver(Batch(records([seq]), [seq]))
                offset.write_text(str(seq))

def child(base, at):
    calls = 0
    def watched(call):
        def counted(*args, **kwargs):
            nonlocal calls
            calls += 1
            if calls == at:
                os.kill(os.getpid(), signal.SIGKILL)
            return call(*args, **kwargs)
        return counted
    for name in ("write", "fsync", "open", "unlink", "replace", "close", "rename"):
        setattr(os, name, watched(getattr(os, name)))
    asyncio.run(run(base / "out", base / "offset"))
    os._exit(0)

def wait(work):
    pid = os.fork()
    if pid == 0:
        try:
            work()
        finally:
            os._exit(1)
    return os.waitpid(pid, 0)[1]

root = Path(sys.argv[1])
for at in range(1, 1000):
    base = root / str(at)
    base.mkdir()
    (base / "offset").write_text("0")
    status = wait(lambda: child(base, at))
    assert wait(lambda: child(base, 0)) == 0
    if status == 0:
        break
print(at)
"""


def test_exact_after_sigkill_at_every_system_call(tmp_path: Path):
    """Killed at each call in turn and started again: each object is in the files once, in order."""
    ran = subprocess.run([sys.executable, "-c", DRIVER, tmp_path], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    assert int(ran.stdout) > 40
    import json

    for base in tmp_path.iterdir():
        files = sorted(path for path in (base / "out").iterdir() if not path.name.startswith("."))
        found = [each["n"] for path in files for each in json.loads(path.read_bytes())["objects"]]
        # The offset is written without a journal here, and so may itself be lost with the last batch.
        assert found == list(range(1, 8)), base.name
        assert not list((base / "out").glob(".*.part"))
