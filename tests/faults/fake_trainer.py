"""A trainer that trains nothing, writes the lines of a real one, and breaks as it is told.

Only the standard library, so that it starts at once. ``--fault NAME`` strikes rank
``--fault-rank`` (-1 for all) after step ``--fault-step``; just before, ``fault_at`` in the folder
of the run gets the time, so that the test can tell how long the harness took to see it.
"""

import argparse
import datetime
import os
import resource
import signal
import subprocess
import sys
import time

CHILD = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"
EXITS = {
    "exit-usage": (64, "ERROR: usage: --train_batch_size must be positive"),
    "exit-data": (65, "ERROR: data: part-0.tfrecord: record 17 is damaged"),
    "exit-unavailable": (69, "ERROR: unavailable: rank 1: device 5 does not answer"),
    "exit-full": (74, "ERROR: io: model.ckpt-10: No space left on device"),
    "exit-internal": (70, "ERROR: internal: ValueError: unforeseen"),
}


class Trainer:
    """One rank."""

    def __init__(self, options):
        self.options = options
        self.struck = options.fault_rank in (-1, options.rank)
        self.log = os.path.join(options.run, "logs", f"train_{options.rank}.log")
        self.clock_shift = 0.0
        self.loss = 7.0
        self.scale = 65536.0

    def say(self, message):
        """An absl line, written at once."""
        when = datetime.datetime.now() + datetime.timedelta(seconds=self.clock_shift)
        text = f"I{when:%m%d %H:%M:%S.%f} {4711 + self.options.rank:5d} fake.py:1] {message}\n"
        os.write(2, text.encode())

    def run(self):
        """The whole training; returns the exit code."""
        options = self.options
        if options.stubborn:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            subprocess.Popen([sys.executable, "-S", "-c", CHILD])
        print(f"RANK_SIZE= {options.world}  RANK_ID= {options.rank}", flush=True)
        shares = 0 if options.fault == "same-data" else options.rank
        group = 1 if options.fault == "split-group" else options.world
        print(f"name: input_shares             part:{shares}/{options.world}", flush=True)
        print(f"name: collective_group_size    {group}", flush=True)
        if self.struck and options.fault == "hang-compile":
            self.mark()
            time.sleep(600)
        first = 1 + self.read_checkpoint()
        before = time.monotonic()
        for step in range(first, options.steps + 1):
            slow = options.fault == "slow-rank" and self.struck
            time.sleep(options.interval * (3.0 if slow else 1.0))
            now = time.monotonic()
            if step > first:
                self.say(f"global_step/sec: {1.0 / (now - before):g}")
            self.report(step, now - before if step > first else None)
            before = now
            self.save_checkpoint(step)
            if self.struck and step == options.fault_step:
                code = self.strike()
                if code is not None:
                    return code
        self.say(f"Loss for final step: {self.loss:g}.")
        if self.struck and options.fault == "hang-end":
            self.mark()
            time.sleep(600)
        return 0

    def report(self, step, seconds):
        """The loss line of one step."""
        told = "" if seconds is None else f" ({seconds:.3f} sec)"
        self.say(
            f"global_step = {step}, masked_lm_loss = {self.loss - 0.7:g}, "
            f"next_sentence_loss = 0.7, total_loss = {self.loss:g}{told}"
        )
        print(f"loss_scale: [{self.scale}]", flush=True)
        self.loss *= self.options.growth

    def read_checkpoint(self):
        """The step to go on from, as a trainer finds it in its output folder."""
        try:
            with open(os.path.join(self.options.run, f"checkpoint_{self.options.rank}")) as stream:
                return int(stream.read())
        except (OSError, ValueError):
            return 0

    def save_checkpoint(self, step):
        """Each fifth step."""
        if self.options.checkpoints and step % 5 == 0:
            path = os.path.join(self.options.run, f"checkpoint_{self.options.rank}")
            with open(path + ".new", "w") as stream:
                stream.write(str(step))
            os.replace(path + ".new", path)

    def mark(self):
        """Notes when the fault happens."""
        with open(os.path.join(self.options.run, "fault_at"), "w") as stream:
            stream.write(repr(time.time()))

    def strike(self):
        """The fault; an exit code ends the rank."""
        fault = self.options.fault
        if fault == "once" and os.path.exists(os.path.join(self.options.run, "fault_at")):
            return None
        self.mark()
        if fault in EXITS:
            code, line = EXITS[fault]
            os.write(2, (line + "\n").encode())
            return code
        if fault in ("sigkill", "once"):
            os.kill(os.getpid(), signal.SIGKILL)
        elif fault == "sigsegv":
            os.kill(os.getpid(), signal.SIGSEGV)
        elif fault == "sigstop":
            os.kill(os.getpid(), signal.SIGSTOP)
        elif fault == "hang":
            time.sleep(600)
        elif fault == "memory":
            resource.setrlimit(resource.RLIMIT_AS, (1 << 28, 1 << 28))
            try:
                print(len(bytearray(1 << 30)))
            except MemoryError:
                os.write(2, b"ERROR: internal: rank 1: out of memory; lower --train_batch_size\n")
                return 70
        elif fault == "nan":
            self.loss = float("nan")
        elif fault == "clock":
            self.clock_shift = -3600.0
        elif fault == "short":
            return 0
        elif fault == "delete-log":
            os.remove(self.log)
        elif fault == "rotate-log":
            os.rename(self.log, self.log + ".1")
        elif fault == "truncate-log":
            os.truncate(self.log, 0)
        elif fault == "garbage":
            os.write(2, bytes(range(256)) * 400 + b"\n")
        elif fault == "fill-disk":
            return self.fill_disk()
        elif fault == "remove-trainer":
            os.remove(self.options.link)
        return None

    def fill_disk(self):
        """Writes until nothing more fits."""
        try:
            with open(os.path.join(self.options.run, "big"), "wb", buffering=0) as stream:
                while True:
                    stream.write(b"x" * 4096)
        except OSError as error:
            os.write(2, f"ERROR: io: checkpoint: {error.strerror}\n".encode())
            return 74


def main():
    """Parses the command line and trains."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rank", type=int, required=True)
    parser.add_argument("--world", type=int, required=True)
    parser.add_argument("--run", required=True)
    parser.add_argument("--steps", type=int, required=True)
    parser.add_argument("--interval", type=float, default=0.03)
    parser.add_argument("--fault", default="")
    parser.add_argument("--fault-rank", type=int, default=1)
    parser.add_argument("--fault-step", type=int, default=12)
    parser.add_argument("--growth", type=float, default=0.99)
    parser.add_argument("--stubborn", action="store_true")
    parser.add_argument("--checkpoints", action="store_true")
    parser.add_argument("--link", default="")
    return Trainer(parser.parse_args()).run()


if __name__ == "__main__":
    try:
        code = main()
    except OSError as error:
        code = 74
        os.write(2, f"ERROR: io: {error}\n".encode())
    os._exit(code)
