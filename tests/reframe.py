"""reframe.py N [ORDER] <in.tms >out.tms: the samples of a stream of tokens, N a frame, in the order given (a seed) or as
they are."""
import os
import random
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "pipelines"))
from onelayer_tms import Frame, Reader, Writer

n = int(sys.argv[1])
with Reader("-") as stream:
    header = stream.header
    samples = [s for frame in stream for s in frame.samples]
if len(sys.argv) > 2:
    random.Random(int(sys.argv[2])).shuffle(samples)
with Writer("-", header) as out:
    for i in range(0, len(samples), n):
        out.write(Frame(samples=samples[i:i + n]))
