"""End a container when whoever started it has ended, killed or not: run as a script.

    python -I minder.py HOST LABEL [IMAGE]

It waits in a process and a session of its own, so that what ends a Jupyter kernel does not end it.
Its standard input is a pipe from the one who started the container: the kernel closes that with
the process, whatever has ended it. Who has removed the container himself writes a letter before.
"""

from __future__ import annotations

import sys
import time
from contextlib import closing, suppress

LOOKS, PAUSE_S = 3, 1.0
"""An engine may still be about to make the container when it is looked for first."""

PATIENCE_S = 60.0
"""An engine that is being started anew does not answer, and has the container when it does."""


def main() -> None:
    """Wait for the end of the input, and remove what has the label, and the image."""
    host, label, *images = sys.argv[1:]
    if sys.stdin.buffer.read():
        return
    deadline_s = time.monotonic() + PATIENCE_S
    looks = 0
    while looks < LOOKS and time.monotonic() < deadline_s:
        looks += remove(host, label, images)
        time.sleep(PAUSE_S)


def remove(host: str, label: str, images: list[str]) -> bool:
    """Remove what has the label, and the images; return whether the engine has answered."""
    import docker  # now, and not for as long as it waits
    from requests.exceptions import RequestException

    mine: dict[str, str | list[str] | bool] = {"label": label}
    try:
        with closing(docker.DockerClient(base_url=host)) as client:
            for container in client.containers.list(all=True, filters=mine, ignore_removed=True):
                with suppress(docker.errors.APIError):
                    container.remove(force=True, v=True)
            for image in images:
                with suppress(docker.errors.APIError):
                    client.images.remove(image)
    except (docker.errors.DockerException, RequestException):
        return False
    return True


if __name__ == "__main__":
    main()
