"""memleak, made to report when it is asked: a few lines of Python to run before it.

memleak sleeps between its reports. With these it says that it waits, its probes in or its report
out, and goes on with the next line of its input. The end of its input is its Ctrl-C.
"""

PAUSE = """
import sys, time
def pause(_):
    print("WAITING", flush=True)
    if not sys.stdin.readline():
        raise KeyboardInterrupt
time.sleep = pause
"""
WAITING = "WAITING\n"
