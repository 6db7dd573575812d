"""TAP for tests in Python, and runs of the programs: ok() for each check, done() at the end."""
import os
import subprocess

BIN = os.environ["BIN"]
count = 0


def ok(good, name, note=""):
    global count
    count += 1
    print("ok" if good else "not ok", count, "-", name, flush=True)
    if not good and str(note):
        print("# " + str(note)[:3000].replace("\n", "\n# "), flush=True)


def done():
    print("1..%d" % count)


def run(program, *args, data=None):
    return subprocess.run([os.path.join(BIN, program), *map(str, args)], input=data, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE)
